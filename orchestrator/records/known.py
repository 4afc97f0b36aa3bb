"""What earlier runs under one folder of outputs have done: which records there are for an identity or a cell.

The records are the truth and are read when they are needed. Which file holds which identity is remembered by folder and
its mtime (records are renamed into place, so each new one changes it): years of nights cost a look at each folder.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from orchestrator.layout import RunLayout
from orchestrator.records.files import RecordError, read_record
from orchestrator.records.record import Record

_BUSY_SECONDS = 10
_SETTLED_SECONDS = 3  # a folder that has just changed may change again within one tick of its file system's clock
_TABLE = "CREATE TABLE IF NOT EXISTS folders (path TEXT PRIMARY KEY, mtime INTEGER, entries TEXT)"
Cell = tuple[str, str, str]  # model, benchmark, environment


class Entry(NamedTuple):
    """A record as it is remembered; `problem` says why it cannot be used."""

    path: str
    prediction: str = ""
    model: str = ""
    benchmark: str = ""
    environment: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Done:
    """A record of a run. Its cell may not have ended well, or at all: the artefacts say what is there."""

    run: RunLayout
    path: Path

    @cached_property
    def record(self) -> Record:
        """Raises RecordError where it changed since it was last seen and cannot be used any more."""
        return read_record(self.path)

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
    by_cell: dict[Cell, list[Done]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def add(self, run: RunLayout, entry: Entry) -> None:
        if entry.problem:
            self.unread.append(entry.problem)
            return
        done = Done(run, Path(entry.path))
        self.by_cell.setdefault((entry.model, entry.benchmark, entry.environment), []).append(done)
        if entry.prediction:
            self.by_prediction.setdefault(entry.prediction, []).append(done)


def read_known(outputs: Path, memory: Path, *, but: RunLayout | None = None) -> Known:
    """All records of all runs under `outputs` but one. What cannot be read is not used, and said in `unread`."""
    known = Known()
    remembered = _recall(memory)
    fresh: dict[str, tuple[int, list[Entry]]] = {}
    for root in _folders(outputs, newest_first=True):
        if but is not None and root.resolve() == but.root.resolve():
            continue
        for row in _folders(root / "records"):
            for entry in _entries(row, remembered, fresh):
                known.add(RunLayout(root=root), entry)
    _remember(memory, fresh)
    return known


def read_own(run: RunLayout) -> Known:
    """The records of one run."""
    known = Known()
    for row in _folders(run.records):
        for entry in map(_entry, _records(row)):
            known.add(run, entry)
    return known


def _entries(
    row: Path, remembered: dict[str, tuple[int, str]], fresh: dict[str, tuple[int, list[Entry]]]
) -> list[Entry]:
    mtime = row.stat().st_mtime_ns
    before = remembered.get(str(row))
    if before and before[0] == mtime:
        return [Entry(*values) for values in json.loads(before[1])]
    entries = [_entry(path) for path in _records(row)]
    if abs(time.time() - mtime / 1e9) > _SETTLED_SECONDS:
        fresh[str(row)] = (mtime, entries)
    return entries


def _entry(path: Path) -> Entry:
    try:
        record = read_record(path)
    except RecordError as error:
        return Entry(str(path), problem=error.problems[0])
    return Entry(str(path), record.identity.prediction or "", record.model, record.benchmark, record.environment)


def _folders(folder: Path, *, newest_first: bool = False) -> list[Path]:
    """Real folders by name; links such as `latest` would count their target twice."""
    try:
        found = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [Path(path) for path in sorted(found, reverse=newest_first)]


def _records(row: Path) -> Iterator[Path]:
    with os.scandir(row) as entries:
        names = sorted(e.name for e in entries if e.name.endswith(".json") and e.is_file(follow_symlinks=False))
    yield from (row / name for name in names)


def _recall(memory: Path) -> dict[str, tuple[int, str]]:
    """An unreadable memory is started anew."""
    if not memory.is_file():
        return {}
    try:
        with closing(sqlite3.connect(memory, timeout=_BUSY_SECONDS)) as connection:
            rows = connection.execute("SELECT path, mtime, entries FROM folders").fetchall()
    except sqlite3.Error:
        with suppress(OSError):
            memory.unlink()
        return {}
    return {path: (mtime, entries) for path, mtime, entries in rows}


def _remember(memory: Path, fresh: dict[str, tuple[int, list[Entry]]]) -> None:
    """Where the cache cannot be written nothing is remembered."""
    if not fresh:
        return
    rows = [(path, mtime, json.dumps(entries)) for path, (mtime, entries) in fresh.items()]
    with suppress(OSError, sqlite3.Error):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(memory, timeout=_BUSY_SECONDS)) as connection, connection:
            connection.execute(_TABLE)
            connection.executemany("INSERT OR REPLACE INTO folders VALUES (?, ?, ?)", rows)
