"""The schedule over a fake executor: order, leases, slots, dependencies, stopping."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import Unavailable
from orchestrator.executors.fake import OK, FakeExecutor
from orchestrator.executors.protocol import Job, Log, Outcome, Status, Stop
from orchestrator.scheduling.gpus import Gpu
from orchestrator.scheduling.schedule import Event, Finished, Planned, Schedule, Started

FAILED = Outcome(status=Status.FAILED, reason="ValueError: no")


def job(key: str) -> Job:
    return Job(key=key, run_id="r", environment="tf-4.37", folder=Path("/nowhere"), mounts=())


def plan(key: str, *, gpus: int = 0, vram_gb: float = 0, after: tuple[str, ...] = ()) -> Planned:
    return Planned(job=job(key), gpus=gpus, vram_gb=vram_gb, after=after)


def gpu(index: int, memory_gb: float = 80, busy: str = "") -> Gpu:
    return Gpu(
        uuid=f"GPU-{index}",
        index=index,
        name="A",
        memory_gb=memory_gb,
        compute_cap=(8, 0),
        driver="535.1",
        busy=busy,
    )


def silent(job: Job) -> Log:
    return lambda line: None


@dataclass
class Watched:
    """Runs a plan and keeps the events; checks while running that no GPU is leased twice."""

    executor: FakeExecutor
    gpus: Sequence[Gpu] = ()
    slots: int = 1
    fail_fast: bool = False
    stop: Stop = field(default_factory=Stop)
    events: list[Event] = field(default_factory=list)
    leased: dict[str, tuple[str, ...]] = field(default_factory=dict)
    side_by_side: int = 0

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Started):
            self.leased[event.planned.key] = tuple(gpu.uuid for gpu in event.gpus)
            held = [uuid for uuids in self.leased.values() for uuid in uuids]
            assert len(held) == len(set(held))
            self.side_by_side = max(self.side_by_side, len(self.leased))
        else:
            self.leased.pop(event.planned.key, None)

    def run(self, *planned: Planned) -> dict[str, Outcome]:
        schedule = Schedule(
            executor=self.executor,
            log=silent,
            gpus=self.gpus,
            slots=self.slots,
            on_event=self.on_event,
            fail_fast=self.fail_fast,
        )
        return schedule.run(planned, self.stop)

    @property
    def started(self) -> list[str]:
        return [event.planned.key for event in self.events if isinstance(event, Started)]


def test_all_run_in_order_with_one_slot() -> None:
    watched = Watched(FakeExecutor())
    assert watched.run(plan("a"), plan("b"), plan("c")) == {"a": OK, "b": OK, "c": OK}
    assert watched.started == ["a", "b", "c"]
    assert watched.side_by_side == 1


def test_slots_run_side_by_side() -> None:
    meet = threading.Barrier(3)
    watched = Watched(FakeExecutor(work=lambda job, needs, log: void(meet.wait(timeout=60))), slots=3)
    watched.run(plan("a"), plan("b"), plan("c"))
    assert watched.side_by_side == 3


def void(value: object) -> None:
    """Drops a value where a function may return none."""


def test_gpus_are_given_by_uuid_and_never_twice() -> None:
    executor = FakeExecutor()
    watched = Watched(executor, gpus=[gpu(i) for i in range(4)])
    watched.run(*(plan(f"j{i}", gpus=1 + i % 3) for i in range(9)))
    assert [len(call.needs.gpus) for call in sorted(executor.calls, key=lambda c: c.job.key)] == [1, 2, 3] * 3


def test_busy_gpus_are_left_alone() -> None:
    executor = FakeExecutor()
    Watched(executor, gpus=[gpu(0, busy="used by x"), gpu(1)]).run(plan("a", gpus=1), plan("b", gpus=1))
    assert [call.needs.gpus for call in executor.calls] == [("GPU-1",), ("GPU-1",)]


def test_small_jobs_leave_the_big_gpu() -> None:
    executor = FakeExecutor()
    Watched(executor, gpus=[gpu(0, 80), gpu(1, 24)]).run(
        plan("small", gpus=1, vram_gb=20), plan("big", gpus=1, vram_gb=40)
    )
    assert {call.job.key: call.needs.gpus for call in executor.calls} == {"small": ("GPU-1",), "big": ("GPU-0",)}


def test_a_wide_job_is_not_starved_by_narrow_ones() -> None:
    """Two narrow ones run; the wide one is next and keeps what gets free, so no later narrow one overtakes it."""
    watched = Watched(FakeExecutor(), gpus=[gpu(0), gpu(1)])
    narrow = [plan(f"n{i}", gpus=1) for i in range(6)]
    watched.run(*narrow[:1], plan("wide", gpus=2), *narrow[1:])
    assert watched.started.index("wide") == 1


def test_what_can_never_fit_is_skipped_with_what_is_here() -> None:
    outcomes = Watched(FakeExecutor(), gpus=[gpu(0, 24)]).run(
        plan("wide", gpus=2), plan("deep", gpus=1, vram_gb=40), plan("x")
    )
    assert outcomes["x"] is OK
    assert outcomes["wide"].status is outcomes["deep"].status is Status.SKIPPED
    assert outcomes["wide"].reason.startswith("needs 2 GPUs; here: 0: A 24 GB sm_80")
    assert "24 GB is less than 40 GB" in outcomes["deep"].reason


def test_dependencies_come_first_and_failure_is_passed_on() -> None:
    executor = FakeExecutor(script={"a": [FAILED]})
    watched = Watched(executor, slots=4)
    outcomes = watched.run(plan("c", after=("b",)), plan("b", after=("a",)), plan("a"), plan("d"))
    assert [call.job.key for call in executor.calls if call.job.key != "d"] == ["a"]
    assert outcomes["b"] == Outcome(status=Status.SKIPPED, reason="needs a, which is failed: ValueError: no")
    assert outcomes["c"].reason == "needs b, which is skipped: needs a, which is failed: ValueError: no"
    assert outcomes["d"] is OK


def test_a_callback_may_decide_otherwise_and_change_the_job() -> None:
    executor = FakeExecutor(script={"a": [FAILED]})
    seen: list[Mapping[str, Outcome]] = []

    def decide(planned: Planned, ended: Mapping[str, Outcome]) -> Job | str:
        seen.append(ended)
        return job(f"{planned.key}-again") if planned.after else planned.job

    outcomes = Schedule(executor=executor, log=silent, decide=decide).run([plan("a"), plan("b", after=("a",))], Stop())
    assert [call.job.key for call in executor.calls] == ["a", "b-again"]
    assert outcomes == {"a": FAILED, "b": OK}
    assert seen == [{}, {"a": FAILED}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("no docker engine answers"), "no docker engine answers"),
        (KeyError("image"), "KeyError: 'image'"),
    ],
)
def test_a_broken_tool_is_infra_and_the_others_go_on(error: Exception, reason: str) -> None:
    outcomes = Watched(FakeExecutor(script={"a": [error]})).run(plan("a"), plan("b"))
    assert outcomes == {"a": Outcome(status=Status.INFRA, reason=reason), "b": OK}


def test_fail_fast_starts_nothing_more() -> None:
    executor = FakeExecutor(script={"a": [FAILED]})
    outcomes = Watched(executor, fail_fast=True).run(plan("a"), plan("b"), plan("c"))
    assert [call.job.key for call in executor.calls] == ["a"]
    assert {outcomes[key].reason for key in "bc"} == {"stopped at the first failure"}


def test_stop_ends_what_runs_and_skips_the_rest() -> None:
    stop = Stop()
    executor = FakeExecutor(hold={"a": threading.Event()})
    schedule = Schedule(
        executor=executor,
        log=silent,
        on_event=lambda event: stop.set() if isinstance(event, Started) else None,
    )
    outcomes = schedule.run([plan("a"), plan("b")], stop)
    assert [call.job.key for call in executor.calls] == ["a"]
    assert {outcome.reason for outcome in outcomes.values()} == {"interrupted"}


def test_a_second_interrupt_closes_the_executor() -> None:
    executor = FakeExecutor(hold={"a": threading.Event()})

    def on_event(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Schedule(executor=executor, log=silent, on_event=on_event).run([plan("a"), plan("b")], Stop())
    assert executor.closed
    assert executor.running == set()


def test_every_job_ends_with_one_event() -> None:
    watched = Watched(FakeExecutor(script={"a": [FAILED]}))
    watched.run(plan("a"), plan("b", after=("a",)), plan("c", gpus=1))
    assert sorted(e.planned.key for e in watched.events if isinstance(e, Finished)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "planned",
    [
        [plan("a"), plan("a")],
        [plan("a", after=("b",)), plan("b", after=("a",))],
        [plan("a", after=("gone",))],
    ],
)
def test_plans_that_could_never_end_are_refused(planned: list[Planned]) -> None:
    with pytest.raises(ValueError, match=r"a waits for|two jobs have one key: a"):
        Schedule(executor=FakeExecutor(), log=silent).run(planned, Stop())


@st.composite
def plans(draw: st.DrawFn) -> list[Planned]:
    size = draw(st.integers(1, 10))
    made = []
    for number in range(size):
        after = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        made.append(plan(f"j{number}", gpus=draw(st.integers(0, 4)), after=tuple(f"j{a}" for a in sorted(after))))
    return draw(st.permutations(made))


@settings(max_examples=60, deadline=None)
@given(
    planned=plans(),
    count=st.integers(0, 3),
    slots=st.integers(0, 3),
    bad=st.sets(st.integers(0, 9)),
    fast=st.booleans(),
)
def test_any_plan_ends_with_one_outcome_each(
    planned: list[Planned], count: int, slots: int, bad: set[int], fast: bool
) -> None:
    faults: list[Outcome | Exception] = [FAILED, Unavailable("engine gone")]
    executor = FakeExecutor(script={f"j{number}": [faults[number % 2]] for number in bad})
    watched = Watched(executor, gpus=[gpu(i) for i in range(count)], slots=slots, fail_fast=fast)
    outcomes = watched.run(*planned)
    assert outcomes.keys() == {p.key for p in planned}
    ran = [call.job.key for call in executor.calls]
    assert len(ran) == len(set(ran))
    order = {key: position for position, key in enumerate(ran)}
    for one in planned:
        if one.key in order:
            assert all(order[key] < order[one.key] for key in one.after)
        else:
            assert outcomes[one.key].status is Status.SKIPPED
    assert watched.leased == {}
