"""Is a job getting on? By what its events file gains and by a clock that the test turns."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.executors.protocol import Needs
from orchestrator.executors.pulse import Limit, Pulse

INFER = {"phase": "infer", "stage": "POPE/infer", "sample": "12"}


class Clock:
    """Stands until it is turned."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def write(out: Path, *events: Mapping[str, object], end: str = "\n") -> None:
    with (out / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(event) + end for event in events))


def test_silence_names_the_phase_and_the_sample(tmp_path: Path, clock: Clock) -> None:
    pulse = Pulse(tmp_path, Needs(stall_seconds=60), clock=clock)
    clock.now += 59
    write(tmp_path, {"phase": "start"}, INFER)
    assert pulse.look() is None
    clock.now += 59
    assert pulse.look() is None
    clock.now += 1
    assert pulse.look() == Limit(which="no event for 60 s", place="hung in infer, POPE/infer, sample 12")
    assert pulse.stage == "POPE/infer"


def test_silence_from_the_start_has_no_place(tmp_path: Path, clock: Clock) -> None:
    pulse = Pulse(tmp_path, Needs(stall_seconds=60), clock=clock)
    clock.now += 60
    assert pulse.look() == Limit(which="no event for 60 s")


def test_half_an_event_is_none(tmp_path: Path, clock: Clock) -> None:
    pulse = Pulse(tmp_path, Needs(stall_seconds=60), clock=clock)
    clock.now += 60
    write(tmp_path, INFER, end="")
    assert pulse.look() is not None
    assert pulse.stage == ""
    write(tmp_path, {}, end="\n")  # its end, and with it a line that is no event
    pulse.catch_up()
    assert pulse.stage == ""


def test_a_stage_is_timed_from_its_first_event(tmp_path: Path, clock: Clock) -> None:
    pulse = Pulse(tmp_path, Needs(stage_seconds={"POPE/infer": 30, "MME/infer": 30}), clock=clock)
    clock.now += 500
    write(tmp_path, {"phase": "load"}, INFER)
    assert pulse.look() is None
    clock.now += 29
    write(tmp_path, {**INFER, "sample": "13"})
    assert pulse.look() is None
    clock.now += 1
    assert pulse.look() == Limit(
        which="POPE/infer not finished after 30 s", place="last seen in infer, POPE/infer, sample 13"
    )


@pytest.mark.parametrize(
    "after",
    [
        {"phase": "stage_done", "stage": "POPE/infer"},
        {"phase": "infer", "stage": "MME/infer"},
        {"phase": "free"},
        {"phase": "start"},
    ],
)
def test_a_stage_that_is_over_is_timed_no_more(tmp_path: Path, clock: Clock, after: dict[str, object]) -> None:
    pulse = Pulse(tmp_path, Needs(stage_seconds={"POPE/infer": 30}), clock=clock)
    write(tmp_path, INFER)
    assert pulse.look() is None
    write(tmp_path, after)
    clock.now += 31
    assert pulse.look() is None


def test_the_jobs_own_limit_counts_what_it_worked_before(tmp_path: Path, clock: Clock) -> None:
    write(tmp_path, INFER)
    pulse = Pulse(tmp_path, Needs(timeout_seconds=90), adopted=True, elapsed=80, clock=clock)
    assert pulse.look() is None
    clock.now += 10
    assert pulse.look() == Limit(which="not finished after 90 s", place="last seen in infer, POPE/infer, sample 12")


def test_events_of_an_earlier_attempt_are_not_its_own(tmp_path: Path, clock: Clock) -> None:
    write(tmp_path, {"phase": "start"}, INFER)
    write(tmp_path, {"phase": "infer"}, end="")  # torn: the next runner cuts it off
    fresh = Pulse(tmp_path, Needs(), clock=clock)
    fresh.catch_up()
    assert (fresh.stage, fresh.place("last seen in")) == ("", "")
    os.truncate(tmp_path / "events.jsonl", (tmp_path / "events.jsonl").read_bytes().rindex(b"\n") + 1)
    write(tmp_path, {"phase": "load"})
    fresh.catch_up()
    assert fresh.place("last seen in") == "last seen in load"


def test_what_an_adopted_one_wrote_before_is_its_own(tmp_path: Path, clock: Clock) -> None:
    write(tmp_path, INFER, {"phase": "start"}, {"phase": "infer", "stage": "MME/infer"})
    pulse = Pulse(tmp_path, Needs(stage_seconds={"MME/infer": 5}), adopted=True, clock=clock)
    assert pulse.look() is None
    assert pulse.stage == "MME/infer"
    clock.now += 5
    assert pulse.look() is not None


@pytest.mark.parametrize(
    "content", [b"x" * 2**21, b"\xff\n" * 9, b"[" * 9999 + b"\n", b'{"phase": 7, "stage": [[]]}\n']
)
def test_nonsense_is_no_harm(tmp_path: Path, clock: Clock, content: bytes) -> None:
    pulse = Pulse(tmp_path, Needs(stall_seconds=60, stage_seconds={"POPE/infer": 1}), clock=clock)
    (tmp_path / "events.jsonl").write_bytes(content)
    assert pulse.look() is None
    write(tmp_path, {"phase": "load", "stage": "\x1b[2Ja\nb" + "c" * 999})
    pulse.catch_up()
    assert "\x1b" not in pulse.stage
    assert len(pulse.stage) <= 200


def test_no_link_and_no_pipe_is_followed(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "elsewhere").write_text(json.dumps(INFER) + "\n", encoding="utf-8")
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "elsewhere")
    pulse = Pulse(tmp_path, Needs(), adopted=True, clock=clock)
    pulse.catch_up()
    assert pulse.stage == ""


def test_the_bell_ends_the_wait_and_a_limit_too(tmp_path: Path, clock: Clock) -> None:
    bell = threading.Event()
    bell.set()
    assert Pulse(tmp_path, Needs(timeout_seconds=0, stall_seconds=0), clock=clock).wait(bell) is None
    assert Pulse(tmp_path, Needs(timeout_seconds=0), clock=clock).wait(threading.Event()) is not None
