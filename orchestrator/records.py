"""Records: one JSON file per cell of a run, self-contained, renamed into place. Reports are made from nothing else."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

from orchestrator.errors import LockstepError
from orchestrator.executors.protocol import Status
from orchestrator.job import Versions
from orchestrator.layout import RunLayout

RECORD_SCHEMA: Final = 1
RUN_SCHEMA: Final = 1


class RecordError(LockstepError):
    """A record or run.json that cannot be used; the message names the file and what to type."""


def _relative(path: str) -> str:
    if PurePosixPath(path).is_absolute():
        raise ValueError(f"{path} is absolute; paths in a record are relative to the run: it can be moved")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordMetric(_File):
    """A finite number with all that is needed to read it. `ci_low`, `ci_high`: 95 %, in the unit of the value."""

    id: str
    value: FiniteFloat
    unit: str
    min: float
    max: float
    higher_is_better: bool
    primary: bool
    n: int
    ci_low: FiniteFloat | None = None
    ci_high: FiniteFloat | None = None


class StageRef(_File):
    """A stage of the cell and its folder, relative to the run's folder."""

    id: str
    kind: Literal["infer", "evaluate"]
    path: RelativePath
    environment: str


class Identity(_File):
    """SHA-256 over content; None: unresolved when the record was made."""

    prediction: str | None = None
    score: str | None = None


class Record(_File):
    """`records/<model>@<environment>/<benchmark>.json`: one cell of one run. Metrics are there only where it is ok."""

    schema_version: Literal[1] = RECORD_SCHEMA
    run_id: str
    model: str
    kind: str  # the registry's kind of model: tells baselines from models
    of: str | None = None  # blind: the model whose image is withheld
    revision: str | None = None
    pinned: bool = False
    benchmark: str
    environment: str
    transformers: str | None = None  # as read inside
    status: Status
    reason: str = ""
    where: RelativePath = ""  # file:line, relative to the run's folder
    metrics: list[RecordMetric] = Field(default_factory=list)
    limit: int | None = None  # None: the whole benchmark
    limit_mode: str = "spread"
    samples_sha256: str | None = None
    n: int | None = None  # units scored
    n_expected: int | None = None  # units
    n_rows: int | None = None  # generations expected
    n_failed: int | None = None
    n_unparsed: int | None = None
    judge: str | None = None
    scorer: str | None = None
    signature: str | None = None
    adapter: str | None = None
    load_seconds: float | None = None
    seconds: float | None = None
    peak_memory_gb: float | None = None
    gpu: str | None = None
    device: str | None = None
    isolated: bool | None = None
    image: str | None = None
    image_tag: str | None = None
    lock: str | None = None
    identity: Identity = Identity()
    conditions: dict[str, JsonValue] = Field(default_factory=dict)
    versions: Versions | None = None
    stages: list[StageRef] = Field(default_factory=list)
    started: str | None = None
    finished: str | None = None
    command: str = ""

    @property
    def failed(self) -> bool:
        return self.status not in (Status.OK, Status.SKIPPED)

    @property
    def primary(self) -> RecordMetric | None:
        return next((metric for metric in self.metrics if metric.primary), None)

    @property
    def row(self) -> str:
        return f"{self.model}@{self.environment}"

    def stage(self, kind: Literal["infer", "evaluate"]) -> StageRef | None:
        return next((stage for stage in self.stages if stage.kind == kind), None)


class RunFile(_File):
    """`run.json`. The three lists give the registry's order, in which reports show things."""

    schema_version: Literal[1] = RUN_SCHEMA
    run_id: str
    command: str
    started: str
    finished: str | None = None
    lockstep: str
    executor: str
    limit: int | None = None
    limit_mode: str = "spread"
    seed: int = 0
    models: list[str] = Field(default_factory=list)
    environments: list[str] = Field(default_factory=list)
    benchmarks: list[str] = Field(default_factory=list)
    images: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)  # environment → what `describe` gave
    host: dict[str, JsonValue] = Field(default_factory=dict)
    registry: dict[str, JsonValue] = Field(default_factory=dict)  # resolved
    notes: list[str] = Field(default_factory=list)


def replace_file(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, flush to disk, rename into place. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def repro_command(
    model: str, benchmark: str, run_id: str, environment: str | None = None, output_root: str | None = None
) -> str:
    """What repeats one cell; `environment` only where the model ran in several, `output_root` where it is not outputs/."""
    words = ["python", "run_matrix.py", "repro", model, benchmark, "--run", run_id]
    words += ["--environment", environment] if environment else []
    words += ["--output-root", output_root] if output_root else []
    return shlex.join(words)


def write_record(run: RunLayout, record: Record) -> Path:
    """Put the record into its place and return the path. Raises OSError."""
    path = run.record(record.model, record.environment, record.benchmark)
    replace_file(path, record.model_dump_json(indent=2).encode() + b"\n")
    return path


def write_run(run: RunLayout, content: RunFile) -> Path:
    """Put run.json into its place and return the path. Raises OSError."""
    replace_file(run.run_json, content.model_dump_json(indent=2).encode() + b"\n")
    return run.run_json


def read_record(path: Path) -> Record:
    """One record. Raises RecordError: cut, too old, too new or not a record, each in its own words."""
    return _read(path, Record, RECORD_SCHEMA)


def read_records(run: RunLayout) -> list[Record]:
    """All records of a run, ordered by path. Raises RecordError with every file that cannot be used."""
    found: list[Record] = []
    problems: list[str] = []
    for path in sorted(run.records.glob("*/*.json")):
        try:
            found.append(read_record(path))
        except RecordError as error:
            problems.extend(error.problems)
    if problems:
        raise RecordError(*problems)
    return found


def read_run(run: RunLayout) -> RunFile | None:
    """run.json, or None where there is none. Raises RecordError where it is there and cannot be used."""
    return _read(run.run_json, RunFile, RUN_SCHEMA) if run.run_json.exists() else None


_F = TypeVar("_F", bound=_File)


def _read(path: Path, model: type[_F], schema: int) -> _F:
    again = "move the file away and type the run's command again"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}; check the folder, then type the command again") from None
    except ValueError as error:
        raise RecordError(f"{path}: cut or not JSON ({error}); {again}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise RecordError(f"{path}: no schema_version, so not a file of Lockstep's; {again}")
    if version < schema:
        raise RecordError(f"{path}: format {version} is older than this Lockstep's {schema}; {again}")
    if version > schema:
        raise RecordError(f"{path}: format {version} is newer than this Lockstep's {schema}; type git pull, then again")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"{path}: {place}: {first['msg']}; {again}") from None
