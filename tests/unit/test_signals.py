"""Signals of this very process: the first stops, the second interrupts, afterwards all is as before."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from orchestrator.errors import Exit, StoppedAtOnce
from orchestrator.executors.protocol import Stop
from orchestrator.runs.signals import stopped_by_signals


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED), (signal.SIGHUP, Exit.HANGUP)],
)
def test_a_signal_sets_the_event_and_the_exit_code(number: signal.Signals, code: Exit) -> None:
    before = signal.getsignal(number)
    with stopped_by_signals() as signals:
        assert not signals.stop.is_set()
        os.kill(os.getpid(), number)
        assert signals.stop.wait(timeout=60)
        assert signals.exit is code
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_without_a_signal_nothing_happens() -> None:
    with stopped_by_signals() as signals:
        pass
    assert not signals.stop.is_set()
    assert signals.exit is None


def test_stop_rings_those_who_wait_for_something_else() -> None:
    stop, early, late, gone = Stop(), threading.Event(), threading.Event(), threading.Event()
    with stop.rings(gone):
        pass
    with stop.rings(early):
        assert not early.is_set()
        stop.set()
        assert early.is_set()
    with stop.rings(late):
        assert late.is_set()
    assert not gone.is_set()


def test_a_second_signal_keeps_the_exit_code_of_the_first() -> None:
    with stopped_by_signals():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StoppedAtOnce) as stopped:
            signal.raise_signal(signal.SIGINT)
    assert stopped.value.exit is Exit.TERMINATED
