"""What earlier runs under one folder of outputs have done, read from their records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator.layout import RunLayout
from orchestrator.record_files import RecordError, read_record
from orchestrator.records import Record


@dataclass(frozen=True, kw_only=True)
class Done:
    """A record and the run it lies in. Its cell may not have ended well, or at all: the artefacts say what is there."""

    run: RunLayout
    record: Record

    @property
    def name(self) -> str:
        return self.run.root.name

    def folder(self, kind: Literal["infer", "evaluate"]) -> Path | None:
        """Where the stage of that kind left its files."""
        stage = self.record.stage(kind)
        return self.run.root / stage.path if stage else None


@dataclass(kw_only=True)
class Known:
    """Lookups over records, newest run first. `unread` says why a file is not used: cut, or of another format."""

    by_prediction: dict[str, list[Done]] = field(default_factory=dict)
    by_cell: dict[tuple[str, str, str], list[Done]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def add(self, done: Done) -> None:
        record = done.record
        self.by_cell.setdefault((record.model, record.benchmark, record.environment), []).append(done)
        if record.identity.prediction:
            self.by_prediction.setdefault(record.identity.prediction, []).append(done)


def read_known(outputs: Path, *, but: RunLayout | None = None) -> Known:
    """All records of all runs under `outputs` but one. What cannot be read is not used, and said in `unread`."""
    known = Known()
    for root in _folders(outputs, newest_first=True):
        if but is not None and root.resolve() == but.root.resolve():
            continue
        _add_run(known, RunLayout(root=root))
    return known


def read_own(run: RunLayout) -> Known:
    """The records of one run."""
    known = Known()
    _add_run(known, run)
    return known


def _add_run(known: Known, run: RunLayout) -> None:
    for path in _records(run.records):
        try:
            known.add(Done(run=run, record=read_record(path)))
        except RecordError as error:
            known.unread.extend(error.problems)


def _folders(folder: Path, *, newest_first: bool = False) -> list[Path]:
    """Real folders by name; links such as `latest` would count their target twice."""
    try:
        found = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [Path(path) for path in sorted(found, reverse=newest_first)]


def _records(folder: Path) -> Iterator[Path]:
    for row in _folders(folder):
        with os.scandir(row) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(".json") and e.is_file(follow_symlinks=False))
        yield from (row / name for name in names)
