"""Files that survive a crash: JSON renamed into place, JSON lines appended and flushed, torn last lines dropped."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

FSYNC_SECONDS = 1.0

Hold = Callable[[], "contextlib.AbstractContextManager[object]"]


class DataError(Exception):
    """A file that we were given is not what it should be; the message says which and why."""


def dumps(value: Any) -> str:
    """One line of pure ASCII: control characters, lone surrogates and megabytes come back as they were."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write under a temporary name, sync, rename."""
    write_lines(path, [json.dumps(value, ensure_ascii=True, allow_nan=False, indent=1)])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that this runner wrote."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace `path` by these lines, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_lines(path: Path, *, whole: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON-lines file with their line numbers; nothing where there is no file.

    What follows the last newline is an append that was cut short and left out; with `whole` the file was made elsewhere
    and must be right to its end, newline or not. Raises DataError for a line that is no JSON object.
    """
    if not path.is_file():
        return
    *lines, rest = path.read_bytes().split(b"\n")
    if whole and rest.strip():
        lines.append(rest)
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: not a JSON object")
        yield number, value


class LineFile:
    """Appends JSON lines. Each is flushed, so that a killed process loses none; the disk is synced at most once a
    second and at the end, so that a power cut loses a second at most, and fast models are not slowed by the disk.

    `hold` keeps signals out while a line is written.
    """

    def __init__(self, path: Path, hold: Hold = contextlib.nullcontext) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.count = _drop_torn_end(path)
        self._file = path.open("a", encoding="utf-8", newline="\n")
        self._hold = hold
        self._synced = time.monotonic()

    def append(self, value: Any) -> None:
        line = dumps(value) + "\n"
        with self._hold():
            self._file.write(line)
            self._file.flush()
            self.count += 1
            if time.monotonic() - self._synced >= FSYNC_SECONDS:
                self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sync()
        self._file.close()


def _drop_torn_end(path: Path) -> int:
    """Cut off what a crash left after the last whole line; the number of whole lines."""
    if not path.is_file():
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return whole.count(b"\n")
