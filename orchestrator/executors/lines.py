"""What a job prints, cut into lines that are safe to store and to show, and bounded."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterable

from orchestrator.executors.protocol import Log
from orchestrator.runs.log import Redaction

LOG_LIMIT = 64 * 2**20  # characters of one job that reach its log
LINE_LIMIT = 64 * 2**10
_UNSAFE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Without terminal escapes and control characters (tabs and line ends stay): what jobs write is not trusted."""
    return _UNSAFE.sub("", text)


class Lines:
    """Turns chunks of bytes into calls of `log`, one a line, without terminal escapes and control characters.

    Of a line that was overwritten with carriage returns (progress bars) the last state is kept. Bytes that are not
    UTF-8 become U+FFFD. Past `limit` characters one last line says so and the rest is dropped. `secrets` are values
    that are never logged, whatever a job prints, also as programs write them on (Redaction).
    """

    def __init__(self, log: Log, *, limit: int = LOG_LIMIT, secrets: Iterable[str] = ()) -> None:
        self._log = log
        self.hidden = Redaction(secrets)  # the text without the job's secrets
        self._left = limit
        self._limit = limit
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._recent: deque[tuple[int, str]] = deque(maxlen=400)
        self.count = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; complete lines are logged at once."""
        if self._left <= 0:  # a job may print for hours after that
            return
        *complete, self._rest = (self._rest + self._decode.decode(chunk)).split("\n")
        for line in complete:
            self._emit(line)
        if len(self._rest) > LINE_LIMIT:
            # hidden before it is cut: the end of a secret would not be known for one
            self._rest = self.hidden(self._rest.rpartition("\r")[2])[-LINE_LIMIT:]

    def close(self) -> None:
        """Log a last line that has no end."""
        self._rest += self._decode.decode(b"", final=True)
        if self._rest:
            self._emit(self._rest)
        self._rest = ""

    def _emit(self, line: str) -> None:
        if self._left <= 0:
            return
        text = self.hidden(printable(line.rstrip("\r").rpartition("\r")[2]))
        if len(text) > LINE_LIMIT:
            text = text[:LINE_LIMIT] + f" … ({len(text)} characters, cut)"
        self._left -= len(text) + 1
        self._put(text)
        if self._left <= 0:
            self._put(f"… the job printed more than {self._limit} characters: the rest is not kept")

    def _put(self, text: str) -> None:
        number = self._log(text)
        self.count = self.count + 1 if number is None else number
        if text.strip():
            self._recent.append((self.count, text.strip()))

    @property
    def last(self) -> str:
        """The last line that is not empty, at most 300 characters of it."""
        return self._recent[-1][1][:300] if self._recent else ""

    def number_of(self, words: str = "") -> int:
        """Number of the last line (from 1) that contains `words`, else of the last line that says anything, else 1."""
        for number, text in reversed(self._recent):
            if words and words in text:
                return number
        return self._recent[-1][0] if self._recent else 1
