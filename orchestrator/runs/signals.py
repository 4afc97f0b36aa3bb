"""Ctrl-C, SIGTERM (systemd, a preempting scheduler) and SIGHUP (a dropped connection) as one event to stop by."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from orchestrator.errors import Exit, StoppedAtOnce
from orchestrator.executors.protocol import Stop

_EXITS = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED, signal.SIGHUP: Exit.HANGUP}


class Signals:
    """What `stopped_by_signals` gives: `stop`, and which signal set it."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.received: signal.Signals | None = None

    @property
    def exit(self) -> Exit | None:
        """The exit code that the signal asks for; None when there was none."""
        return None if self.received is None else _EXITS[self.received]


@contextmanager
def stopped_by_signals() -> Iterator[Signals]:
    """Inside, SIGINT, SIGTERM and SIGHUP set `stop`; a second one raises StoppedAtOnce, a KeyboardInterrupt, in the main thread.

    To be entered in the main thread. The signal function only fills a queue, which alone is safe at any moment; a
    thread sets the event, whose lock the interrupted code may hold.
    """
    signals = Signals()
    queue: SimpleQueue[bool] = SimpleQueue()

    def received(number: int, frame: FrameType | None) -> None:
        if signals.received is not None:
            raise StoppedAtOnce(_EXITS[signals.received])
        signals.received = signal.Signals(number)
        queue.put(True)

    def forward() -> None:
        if queue.get():
            signals.stop.set()

    thread = threading.Thread(target=forward, name="signals", daemon=True)
    before = {number: signal.signal(number, received) for number in _EXITS}
    thread.start()
    try:
        yield signals
    finally:
        for number, function in before.items():
            signal.signal(number, function)
        queue.put(False)
        thread.join()
