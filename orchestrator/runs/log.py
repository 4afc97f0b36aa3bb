"""Plain log files: run.log with timestamps, a job's log as it printed. No secret reaches them."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, quote_plus

from orchestrator.terminal.visible import visible

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


class Redaction:
    """Replaces the values of secrets by `***`; values under four characters are not secrets but parts of words.

    Found are also the forms in which programs write them on: quoted for an address, in base64 (by itself or as a part,
    as behind `Basic `), and of a value with several lines each long line.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        given = {value for value in secrets if value and len(value) >= 4}
        parts = {line.strip() for value in given for line in value.splitlines()} - given
        values = {form for value in given | {part for part in parts if len(part) >= 8} for form in _forms(value)}
        longest_first = sorted(values, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(value) for value in longest_first)) if values else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub("***", text) if self._pattern else text


def _forms(value: str) -> set[str]:
    found = {value, quote(value), quote(value, safe=""), quote_plus(value)}
    content = value.encode("utf-8", "surrogateescape")
    if len(content) >= 8:
        for before in range(3):  # what stands before it decides how it is cut into groups of six bits
            last = (before + len(content)) * 8 // 6
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                found.add(encode(b"\0" * before + content).decode()[(0, 2, 3)[before] : last])
    return found


def now() -> datetime:
    """Local time with its offset: what a person compares with the clock on the wall."""
    return datetime.now().astimezone()


class LineLog:
    """Appends lines to a file, flushed one by one, from any thread; knows the number of each line.

    Colours are dropped and other control characters written out, so that `less` and `grep` show what is there.
    """

    def __init__(
        self, path: Path, *, redact: Redaction | None = None, clock: Callable[[], datetime] | None = None
    ) -> None:
        """Opens `path` for appending; with `clock` each line starts with its time. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.lines = _count(path)
        self._redact = redact or Redaction()
        self._clock = clock
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", newline="\n")
        if _torn(path):
            self._file.write("\n")

    def __enter__(self) -> LineLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, text: str) -> int:
        """Write `text` (several lines stay several) and return the number of its first line."""
        stamp = f"{self._clock().isoformat(timespec='seconds')} " if self._clock else ""
        pieces = self._redact(_ANSI.sub("", text)).rstrip("\n").split("\n")
        with self._lock:
            first = self.lines + 1
            self._file.write("".join(f"{stamp}{visible(piece)}\n" for piece in pieces))
            self._file.flush()
            self.lines += len(pieces)
            return first

    def close(self) -> None:
        with self._lock:
            self._file.close()


def run_log(path: Path, *, redact: Redaction | None = None) -> LineLog:
    """`logs/run.log`. Raises OSError."""
    return LineLog(path, redact=redact, clock=now)


def _count(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _torn(path: Path) -> bool:
    """Whether a writer that was killed left the last line without its end."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"
