"""An executor that does in process what the runner does in a container: the same files, and faults where a test wants them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.executors.fake import FakeExecutor
from orchestrator.executors.protocol import Job, Log, Mount, Needs, Outcome, Status, Stop
from orchestrator.job import (
    BenchmarkSpec,
    EvaluateStage,
    Failure,
    IndexStage,
    InferStage,
    JobFile,
    MetricSpec,
    ModelSpec,
    Stage,
)
from orchestrator.planning.identity import samples_sha256
from orchestrator.planning.versions import adapter_version, scorer_name

DIGEST = "sha256:{}"
SAMPLES = ["s0", "s1", "s2"]
Answered = tuple[str, str, str, str]  # model, environment, benchmark, sample


class Killed(BaseException):
    """The process is gone (kill -9): nobody may handle it, and nothing is done after it."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens after `after` more answers (or scorings) of a start: a status, or `killed`. `torn`: amid a line."""

    after: int
    what: str
    torn: bool = False


@dataclass(kw_only=True)
class FakeRunner(FakeExecutor):
    """`faults` gives the next start's fault, if any; `bad` are samples whose generation always fails.

    `flushed` are answers that were written whole; `again` those that were generated although they had been: none.
    """

    faults: Callable[[Job], Fault | None] = lambda job: None
    bad: frozenset[str] = frozenset()
    locks: Path = Path("/nowhere")
    starts: list[tuple[str, Needs, JobFile]] = field(default_factory=list)
    flushed: Counter[Answered] = field(default_factory=Counter)
    again: list[Answered] = field(default_factory=list)
    together: list[str] = field(default_factory=list)
    dead: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _working: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def run(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome:
        file = JobFile.model_validate_json((job.folder / "work" / "job.json").read_bytes())
        (job.out / "error.json").unlink(missing_ok=True)
        self.starts.append((job.key, needs, file))
        cells = {_cell(file, stage) for stage in file.stages if isinstance(stage, InferStage)}
        with self._guard:
            self.together += [str(cell) for cell in cells if self._working[cell]]
            self._working.update(cells)
        try:
            return _Start(self, job, file, self.faults(job)).everything()
        except _Ends as end:
            return end.outcome
        finally:
            with self._guard:
                self._working.subtract(cells)


class _Ends(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Start:
    """One process of the runner."""

    def __init__(self, runner: FakeRunner, job: Job, file: JobFile, fault: Fault | None) -> None:
        self._runner = runner
        self._job = job
        self._file = file
        self._fault = fault
        self._left = fault.after if fault else -1
        self._loads = 0

    def everything(self) -> Outcome:
        for stage in self._file.stages:
            if isinstance(stage, IndexStage):
                self._index(stage)
        infers = [stage for stage in self._file.stages if isinstance(stage, InferStage)]
        if any(len(self._kept(stage)) < len(stage.samples) for stage in infers):
            self._loads = 1
        for infer in infers:
            self._infer(infer)
        for stage in self._file.stages:
            if isinstance(stage, EvaluateStage):
                self._evaluate(stage)
        if self._fault is not None:  # later than all there was to do
            self._strike(self._file.stages[-1], None)
        return Outcome(status=Status.OK, conditions={"exit_code": 0})

    # --- stages -------------------------------------------------------------------------------------------------------

    def _index(self, stage: IndexStage) -> None:
        self._due(stage, None)
        folder = self._job.out / stage.id
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{"id": s, "group": s, "cluster": s, "category": ""} for s in SAMPLES]
        index = {"benchmark": stage.benchmark.name, "dataset": stage.benchmark.dataset, "made_by": "fake 1"}
        content = {"data_sha256": stage.benchmark.sha256, "content_sha256": "0" * 64, "samples": rows, "order": SAMPLES}
        (folder / "index.json").write_text(json.dumps({**index, **content}))
        self._finish(stage)

    def _kept(self, stage: InferStage) -> dict[str, dict[str, Any]]:
        path = self._job.out / stage.id / "predictions.jsonl"
        text = path.read_text() if path.is_file() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return {line["id"]: line for line in lines if line["error"] is None and line["id"] in stage.samples}

    def _infer(self, stage: InferStage) -> None:
        folder = self._job.out / stage.id
        folder.mkdir(parents=True, exist_ok=True)
        kept = self._kept(stage)
        if len(kept) == len(stage.samples) and (folder / "result.json").is_file():
            return
        path = folder / "predictions.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in kept.values()))
        key = self._conditions(folder)
        failed = 0
        for sample in stage.samples:
            if sample not in kept:
                self._due(stage, path)
                failed += self._answer(stage, sample, path, key)
        failure = None if failed < len(stage.samples) else _failure("model", stage.samples[0])
        self._finish(stage, n_failed=failed, failure=failure, load_events=self._loads, load_seconds=0.1)

    def _answer(self, stage: InferStage, sample: str, path: Path, key: str) -> bool:
        error = _failure("model", sample) if sample in self._runner.bad else None
        line = {"id": sample, "answer": None if error else f"answer {sample}", "error": error, "conditions": key}
        answered = (*_cell(self._file, stage), sample)
        if self._runner.flushed[answered]:
            self._runner.again.append(answered)
        with path.open("a") as file:
            file.write(json.dumps({**line, "prompt_sha256": None, "seconds": 0.0}) + "\n")
        self._runner.flushed[answered] += error is None
        return error is not None

    def _evaluate(self, stage: EvaluateStage) -> None:
        self._due(stage, None)
        folder = self._job.out / stage.id
        folder.mkdir(parents=True, exist_ok=True)
        inside = Path(stage.predictions)
        source = next(
            (m.source for m in self._job.mounts if m.target == inside.as_posix()),
            self._job.out / inside.relative_to("work/out") if inside.is_relative_to("work/out") else None,
        )
        assert source is not None
        text = (source / "predictions.jsonl").read_text() if (source / "predictions.jsonl").is_file() else ""
        lines = {line["id"]: line for line in map(json.loads, text.splitlines())}
        if set(lines) < set(stage.samples):
            self._finish(stage, failure=_failure("data", None))
            return
        failed = [sample for sample in stage.samples if lines[sample]["error"] is not None]
        if failed:
            self._finish(stage, failure=lines[failed[0]]["error"], n_failed=len(failed))
            return
        with (folder / "scores.jsonl").open("w") as file:
            for sample in stage.samples:
                score = {"id": sample, "group": sample, "ids": [sample], "score": 1.0, "parsed": "x"}
                file.write(json.dumps({**score, "unparsed": False}) + "\n")
        metrics = [{"id": m.id, "value": m.max, "n": len(stage.samples)} for m in stage.benchmark.metrics]
        scorer = scorer_name(stage.benchmark.scorer, self._runner.locks, self._file.environment) or "fake 1"
        self._finish(stage, metrics=metrics, judge="exact_matching", scorer=scorer)

    # --- faults -------------------------------------------------------------------------------------------------------

    def _due(self, stage: Stage, path: Path | None) -> None:
        if self._runner.dead:
            raise Killed
        if self._left == 0:
            self._strike(stage, path)
        self._left -= 1

    def _strike(self, stage: Stage, path: Path | None) -> None:
        assert self._fault is not None
        if self._fault.torn and path is not None:
            with path.open("a") as file:
                file.write('{"id": "torn')
        what = self._fault.what
        if what == "killed":
            self._runner.dead = True
            raise Killed
        if what == "raises":
            raise OSError("the engine is gone")
        status = Status(what)
        if status in (Status.OOM, Status.FAILED):
            why = _failure("oom" if status is Status.OOM else "model", None)
            (self._job.out / "error.json").write_text(json.dumps(why))
        raise _Ends(Outcome(status=status, reason=f"{what} it was", stage=stage.id, conditions={"exit_code": 1}))

    # --- results ------------------------------------------------------------------------------------------------------

    def _conditions(self, folder: Path) -> str:
        assert self._file.model is not None
        values = {
            "run_id": self._file.run_id,
            "device": "cpu",
            "batch_size": self._file.model.batch_size,
            "adapter": adapter_version(self._file.model.adapter),
            "versions": self._versions(),
        }
        key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
        path = folder / "conditions.json"
        known = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(known | {key: values}))
        return key

    def _versions(self) -> dict[str, Any]:
        digest = DIGEST.format(self._file.environment)
        return {
            "python": "3.11",
            "runner": "1",
            "transformers": self._file.transformers,
            "environment_digest": digest,
        }

    def _finish(self, stage: Stage, *, failure: dict[str, Any] | None = None, **found: Any) -> None:
        assert not isinstance(stage, InferStage) or self._file.model is not None
        samples = [] if not isinstance(stage, InferStage | EvaluateStage) else stage.samples
        adapter = adapter_version(self._file.model.adapter) if self._file.model and stage.kind == "infer" else None
        said = {
            "schema_version": 2,
            "stage": stage.id,
            "kind": stage.kind,
            "model": self._file.model.name if self._file.model else None,
            "benchmark": stage.benchmark.name,
            "environment": self._file.environment,
            "status": "failed" if failure else "ok",
            "failure": failure,
            "n_rows": len(samples),
            "n_units": len(samples),
            "samples_sha256": samples_sha256(samples),
            "adapter": adapter,
            "versions": self._versions(),
            "seconds": 0.1,
        }
        path = self._job.out / stage.id / "result.json"
        path.write_text(json.dumps(said | found))


def _cell(file: JobFile, stage: Stage) -> tuple[str, str, str]:
    return (file.model.name if file.model else "", file.environment, stage.benchmark.name)


def _failure(kind: str, sample: str | None) -> dict[str, Any]:
    value = Failure(kind=kind, type="E", message=kind, where="x.py:1", phase="infer", sample=sample)  # type: ignore[arg-type]
    return value.model_dump()


def job_in(folder: Path, cells: Sequence[str] = ("A", "B", "C"), *, key: str = "m@tf-x") -> Job:
    """A job on disk whose model answers three samples of each cell."""
    infers: list[Stage] = [InferStage(id=f"{c}/infer", benchmark=spec(c), samples=SAMPLES) for c in cells]
    evaluates: list[Stage] = [
        EvaluateStage(
            id=f"{c}/evaluate", benchmark=spec(c), samples=SAMPLES, predictions=f"work/out/{c}/infer", whole=True
        )
        for c in cells
    ]
    file = JobFile(
        run_id="r",
        key=key,
        environment="tf-x",
        transformers="4.37.2",
        model=ModelSpec(name=key.partition("@")[0], adapter="hf"),
        stages=[*infers, *evaluates],
    )
    (folder / "job" / "work").mkdir(parents=True)
    (folder / "job" / "work" / "job.json").write_text(file.model_dump_json(indent=1))
    (folder / "out").mkdir()
    return Job(
        key=key,
        run_id="r",
        environment="tf-x",
        folder=folder / "job",
        mounts=(Mount(source=folder / "out", target="work/out", writable=True),),
    )


def spec(name: str) -> BenchmarkSpec:
    metric = MetricSpec(id="accuracy", unit="%", max=100, proportion=True)
    return BenchmarkSpec(name=name, dataset=name, type="yes_no", data="cache/x", sha256="0" * 64, metrics=[metric])
