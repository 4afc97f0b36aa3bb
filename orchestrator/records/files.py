"""Records and run.json on disk: renamed into place, read back strictly; another format is an error, never a guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.errors import LockstepError
from orchestrator.files import replace_file
from orchestrator.layout import RunLayout
from orchestrator.records.record import RECORD_SCHEMA, RUN_SCHEMA, Record, RunFile


class RecordError(LockstepError):
    """A record or run.json that cannot be used; the message names the file and what to type."""


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


_F = TypeVar("_F", bound=BaseModel)


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
