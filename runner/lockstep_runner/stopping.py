"""SIGTERM, SIGINT and SIGHUP end the job wherever it is, but never in the middle of a line that is being written."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupted(BaseException):
    """Raised in the main thread by a signal; not an Exception, so that no code of a model swallows it as its own."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


class Stopping:
    """Catches signals from `install` on. Without that, process 1 of a container ignores SIGTERM."""

    def __init__(self) -> None:
        self._held = False
        self._signum: int | None = None

    def install(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, self._received)

    def _received(self, signum: int, frame: FrameType | None) -> None:
        self._signum = signum
        if not self._held:
            raise Interrupted(signum) from None

    def check(self) -> None:
        """Raise now what came while held, or what other code swallowed."""
        if self._signum is not None:
            raise Interrupted(self._signum) from None  # what else went wrong is not why the job ends

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """An error that leaves the block while a signal is pending is that signal's doing."""
        try:
            yield
        except Exception:
            self.check()
            raise

    def finish(self) -> None:
        """The job is ending because of a signal; further ones change nothing."""
        self._signum = None
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
