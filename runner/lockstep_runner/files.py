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


class DiskError(Exception):
    """A file of ours cannot be written: the disk is full or gone. The message names the file and the system's reason."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> DiskError:
        return cls(f"{path}: {error.strerror or error}")


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
    """Replace `path` by these lines, all or nothing. Raises DiskError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DiskError.of(path, error) from error


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

    `hold` keeps signals out while a line is written. A line that the disk has no room for is taken out again whole.
    All of it raises DiskError.
    """

    def __init__(self, path: Path, hold: Hold = contextlib.nullcontext) -> None:
        self._path = path
        self._hold = hold
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.count = _drop_torn_end(path)
            self._file = path.open("ab", buffering=0)
            self._size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise DiskError.of(path, error) from error
        self._synced = time.monotonic()

    def append(self, value: Any) -> None:
        line = (dumps(value) + "\n").encode("ascii")
        with self._hold():
            try:
                self._write(line)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file.fileno(), self._size)
                raise DiskError.of(self._path, error) from error
            self._size += len(line)
            self.count += 1
            if time.monotonic() - self._synced >= FSYNC_SECONDS:
                self._sync()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DiskError.of(self._path, error) from error
        self._synced = time.monotonic()

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            try:
                self._sync()
            except DiskError:
                if error is None:  # else that one is what is to be heard of
                    raise


def _drop_torn_end(path: Path) -> int:
    """Cut off what a crash left after the last whole line; the number of whole lines."""
    if not path.is_file():
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return whole.count(b"\n")
