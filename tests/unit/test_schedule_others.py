"""The schedule beside other runs: what they hold, what their dead ones left at work, deadlines, jobs put back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestrator.claims import claims as claims_module
from orchestrator.claims.claims import Claim, Held, Mark, claim, gpu_lock, identity_lock, make_mark
from orchestrator.claims.process import this_process
from orchestrator.errors import Unavailable
from orchestrator.executors.fake import OK, FakeExecutor
from orchestrator.executors.protocol import Job, Log, Needs, Outcome, Status, Stop
from orchestrator.scheduling import schedule as schedule_module
from orchestrator.scheduling.contention import checked
from orchestrator.scheduling.gpus import Gpu
from orchestrator.scheduling.schedule import Event, Finished, Planned, Schedule, Started, Waiting
from tests.unit.test_schedule import gpu, plan, silent


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "RECHECK_SECONDS", 0.005)
    monkeypatch.setattr(claims_module, "_PATIENCE_SECONDS", 0.02)  # the runs here look dead to each other


@dataclass
class Run:
    """One run among others: each job needs the lock of its own key, and of its GPUs."""

    folder: Path
    executor: FakeExecutor = field(default_factory=FakeExecutor)
    name: str = "mine"
    gpus: Sequence[Gpu] = ()
    slots: int = 1
    wait: bool = False
    alive: Callable[[Mark], bool] = lambda mark: False
    adopt: Callable[[Planned, Held, Stop], None] | None = None
    attempt: Callable[[Planned, Job, Needs, Stop, Log], Outcome | Planned] | None = None
    deadline: float | None = None
    told: Callable[[Event], None] = lambda event: None
    stop: Stop = field(default_factory=Stop)
    events: list[Event] = field(default_factory=list)

    def paths(self, key: str, gpus: Sequence[Gpu] = ()) -> list[Path]:
        return [identity_lock(self.folder, key), *(gpu_lock(g.uuid, self.folder / "gpus") for g in gpus)]

    def mark(self, key: str) -> Mark:
        """As of another process, so that no run takes what it holds for its own."""
        mark = make_mark(run_id=self.name, job_key=key, folder=self.folder, project="p")
        return replace(mark, process=replace(mark.process, start=f"{mark.process.start}{self.name}"))

    def claim(self, planned: Planned, gpus: tuple[Gpu, ...]) -> Claim | Held:
        return claim(self.paths(planned.key, gpus), mark=self.mark(planned.key), alive=self.alive)

    def hold(self, key: str, *gpus: Gpu) -> Claim:
        got = claim(self.paths(key, gpus)[1 if gpus else 0 :], mark=self.mark(key))
        assert isinstance(got, Claim)
        return got

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.told(event)

    def run(self, *planned: Planned) -> dict[str, Outcome]:
        schedule = Schedule(
            executor=self.executor,
            log=silent,
            gpus=self.gpus,
            slots=self.slots,
            claim=self.claim,
            wait=self.wait,
            adopt=self.adopt,
            attempt=self.attempt,
            deadline=self.deadline,
            on_event=self.on_event,
        )
        return schedule.run(planned, self.stop)

    @property
    def story(self) -> list[str]:
        return [f"{type(event).__name__.lower()} {event.planned.key}" for event in self.events]


def leave(run: Run, key: str, *gpus: Gpu) -> None:
    """Locks as an orchestrator leaves them that is killed: signed, and locked by nobody."""
    other = replace(run, name="dead")
    held = other.hold(key, *gpus)
    texts = {path: path.read_bytes() for path in other.paths(key, gpus) if path.exists()}
    held.release()
    for path, text in texts.items():
        path.write_bytes(text)


def test_what_another_run_holds_is_skipped_and_said_and_the_rest_runs(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with replace(run, name="20261121-0200").hold("a"):
        outcomes = run.run(plan("a"), plan("b"), plan("c", after=("a",)))
    assert outcomes["a"].status is Status.SKIPPED
    assert outcomes["a"].reason.startswith("held by run 20261121-0200 of ")
    assert outcomes["a"].conditions == {"held": True}
    assert outcomes["b"] is OK
    assert outcomes["c"].reason.startswith("needs a, which is skipped: held by run")
    assert run.story == ["finished a", "started b", "finished b", "started c", "finished c"]


def test_what_another_run_holds_is_waited_for_and_told_once(tmp_path: Path) -> None:
    held = replace(Run(tmp_path), name="other").hold("a")
    asked: list[str] = []

    def told(event: Event) -> None:
        asked.append(type(event).__name__)

    run = Run(tmp_path, wait=True, told=told)
    inner, first = run.claim, threading.Event()

    def counted(planned: Planned, gpus: tuple[Gpu, ...]) -> Claim | Held:
        if planned.key == "a" and len(asked) >= 3:  # it waits, and b has ended: ask some more, then let go
            asked.append("asked")
            if asked.count("asked") == 3:
                held.release()
        first.set()
        return inner(planned, gpus)

    run.claim = counted  # type: ignore[method-assign]
    assert run.run(plan("a"), plan("b")) == {"a": OK, "b": OK}
    assert run.story == ["waiting a", "started b", "finished b", "started a", "finished a"]


def test_stop_ends_the_waiting(tmp_path: Path) -> None:
    run = Run(tmp_path, wait=True)
    run.told = lambda event: run.stop.set()
    with replace(run, name="other").hold("a"):
        assert run.run(plan("a"))["a"].reason == "interrupted"


def test_other_gpus_are_tried_first(tmp_path: Path) -> None:
    run = Run(tmp_path, gpus=[gpu(0, 24), gpu(1, 80)])
    with replace(run, name="other").hold("x", gpu(0)):
        assert run.run(plan("a", gpus=1), plan("b", gpus=1)) == {"a": OK, "b": OK}
    assert [call.needs.gpus for call in run.executor.calls] == [("GPU-1",), ("GPU-1",)]


def test_where_all_gpus_are_held_the_job_is_dropped_as_held(tmp_path: Path) -> None:
    run = Run(tmp_path, gpus=[gpu(0), gpu(1)])
    with replace(run, name="other").hold("x", gpu(0), gpu(1)):
        outcomes = run.run(plan("a", gpus=1), plan("cpu"))
    assert outcomes["a"].conditions == {"held": True}
    assert outcomes["cpu"] is OK


def test_a_wide_job_is_dropped_where_our_own_gpus_can_never_do(tmp_path: Path) -> None:
    run = Run(tmp_path, gpus=[gpu(0), gpu(1)])
    with replace(run, name="other").hold("x", gpu(0)):
        outcomes = run.run(plan("wide", gpus=2), plan("a", gpus=1))
    assert outcomes["wide"].conditions == {"held": True}
    assert outcomes["a"] is OK


def test_a_wide_job_keeps_its_turn_where_our_own_gpus_will_do(tmp_path: Path) -> None:
    """One GPU is another run's, one ours and at work: the third is kept for the wide job, though it could start others."""
    run = Run(tmp_path, gpus=[gpu(0, 24), gpu(1), gpu(2)])
    with replace(run, name="other").hold("x", gpu(0)):
        run.run(plan("n1", gpus=1), plan("wide", gpus=2), plan("n2", gpus=1), plan("n3", gpus=1))
    started = [event.planned.key for event in run.events if isinstance(event, Started)]
    assert started[:2] == ["n1", "wide"]


def test_an_orphan_is_adopted_in_the_jobs_thread_then_the_job_runs(tmp_path: Path) -> None:
    lives = {"dead"}
    adopted: list[tuple[str, str, str]] = []

    def adopt(planned: Planned, held: Held, stop: Stop) -> None:
        assert threading.current_thread() is not threading.main_thread()
        adopted.append((planned.key, held.holders[0].run_id, held.holders[0].job_key))
        lives.clear()

    run = Run(tmp_path, alive=lambda mark: mark.run_id in lives, adopt=adopt)
    leave(run, "a")
    assert run.run(plan("a"), plan("b")) == {"a": OK, "b": OK}
    assert adopted == [("a", "dead", "a")]
    assert run.story[0] == "waiting a"
    assert run.story.count("started a") == 1


def test_an_orphan_that_adopting_does_not_end_is_held(tmp_path: Path) -> None:
    adopted: list[str] = []
    run = Run(tmp_path, alive=lambda mark: True, adopt=lambda planned, held, stop: adopted.append(planned.key))
    leave(run, "a")
    assert run.run(plan("a"))["a"].conditions == {"held": True}
    assert adopted == ["a"]


def test_without_adopting_an_orphan_is_held(tmp_path: Path) -> None:
    run = Run(tmp_path, alive=lambda mark: True)
    leave(run, "a")
    assert run.run(plan("a"))["a"].conditions == {"held": True}
    assert run.executor.calls == []


def test_one_job_adopts_the_orphan_on_a_gpu_and_others_wait_for_it(tmp_path: Path) -> None:
    lives = {"dead"}
    adopted: list[str] = []

    def adopt(planned: Planned, held: Held, stop: Stop) -> None:
        adopted.append(planned.key)
        lives.clear()

    run = Run(tmp_path, gpus=[gpu(0)], alive=lambda mark: mark.run_id in lives, adopt=adopt)
    leave(run, "x", gpu(0))
    assert run.run(plan("a", gpus=1), plan("b", gpus=1)) == {"a": OK, "b": OK}
    assert adopted == ["a"]


def test_what_adopting_raises_is_infra(tmp_path: Path) -> None:
    def adopt(planned: Planned, held: Held, stop: Stop) -> None:
        raise Unavailable("no docker engine answers")

    run = Run(tmp_path, alive=lambda mark: True, adopt=adopt)
    leave(run, "a")
    assert run.run(plan("a"))["a"] == Outcome(status=Status.INFRA, reason="no docker engine answers")


def test_locks_are_held_until_the_last_event_and_no_longer(tmp_path: Path) -> None:
    seen: list[bool] = []
    other = Run(tmp_path, name="other")

    def told(event: Event) -> None:
        if isinstance(event, Finished):
            seen.append(isinstance(other.claim(event.planned, ()), Held))

    run = Run(tmp_path, told=told, executor=FakeExecutor(script={"a": [Unavailable("gone")]}))
    run.run(plan("a"), plan("b"))
    assert seen == [True, True]
    other.hold("a").release()
    other.hold("b").release()


def test_a_broken_console_lets_go_of_all(tmp_path: Path) -> None:
    def told(event: Event) -> None:
        if isinstance(event, Finished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, told=told, slots=2).run(plan("a"), plan("b"))
    for key in "ab":
        Run(tmp_path, name="other").hold(key).release()


def test_a_claim_that_cannot_be_asked_is_infra(tmp_path: Path) -> None:
    (tmp_path / ".locks").write_text("a file")
    outcome = Run(tmp_path).run(plan("a"))["a"]
    assert outcome.status is Status.INFRA
    assert ".locks" in outcome.reason


def test_our_own_process_is_waited_for_while_it_works(tmp_path: Path) -> None:
    """Two jobs of one run that make the same thing: one after the other, without a word about others."""
    run = Run(tmp_path, slots=2)
    lock = identity_lock(tmp_path, "same")
    mark = replace(run.mark("a"), process=this_process())
    run.claim = lambda planned, gpus: claim([lock], mark=replace(mark, job_key=planned.key))  # type: ignore[method-assign]
    assert run.run(plan("a"), plan("b")) == {"a": OK, "b": OK}
    assert run.story == ["started a", "finished a", "started b", "finished b"]


def test_after_the_deadline_nothing_starts(tmp_path: Path) -> None:
    run = Run(tmp_path, deadline=time.monotonic() - 1)
    outcomes = run.run(plan("a"), plan("b"))
    assert {(o.reason, bool(o.conditions["deadline"])) for o in outcomes.values()} == {("deadline reached", True)}
    assert run.executor.calls == []


def test_the_deadline_cuts_what_runs(tmp_path: Path) -> None:
    executor = FakeExecutor(hold={"a": threading.Event()})
    run = Run(tmp_path, executor=executor, deadline=time.monotonic() + 0.05)
    outcomes = run.run(plan("a"), plan("b"))
    assert {outcome.reason for outcome in outcomes.values()} == {"deadline reached"}
    assert {outcome.conditions["deadline"] for outcome in outcomes.values()} == {True}
    assert not run.stop.is_set()


def test_the_deadline_ends_the_waiting_for_others(tmp_path: Path) -> None:
    run = Run(tmp_path, wait=True, deadline=time.monotonic() + 0.05)
    with replace(run, name="other").hold("a"):
        assert run.run(plan("a"))["a"].reason == "deadline reached"


def test_an_attempt_may_put_the_job_back_with_more_gpus(tmp_path: Path) -> None:
    given: list[int] = []

    def attempt(planned: Planned, job: Job, needs: Needs, stop: Stop, log: Log) -> Outcome | Planned:
        given.append(len(needs.gpus))
        return replace(planned, gpus=2) if len(needs.gpus) == 1 else OK

    run = Run(tmp_path, gpus=[gpu(0), gpu(1)], attempt=attempt)
    assert run.run(plan("a", gpus=1)) == {"a": OK}
    assert given == [1, 2]
    assert run.story == ["started a", "started a", "finished a"]
    assert run.executor.calls == []


def test_waiting_names_who_is_waited_for(tmp_path: Path) -> None:
    run = Run(tmp_path, wait=True)
    run.told = lambda event: run.stop.set()
    with replace(run, name="other").hold("a"):
        run.run(plan("a"))
    waiting = [event for event in run.events if isinstance(event, Waiting)]
    assert [event.held.holders[0].run_id for event in waiting] == ["other"]


def test_a_gpu_that_a_program_without_a_lock_uses_stays_its_own(tmp_path: Path) -> None:
    """In use when the run began, with the lock of a run that died: an orphan of that run, or somebody else's by now."""
    users = {"GPU-0": "used by python (pid 7)", "GPU-1": ""}
    run = Run(tmp_path, gpus=[replace(gpu(0), held="left by"), replace(gpu(1), held="left by")])
    one = plan("a", gpus=1)
    got = checked(run.claim(one, (run.gpus[0],)), run.gpus[:1], used=lambda gpu: users[gpu.uuid])
    assert isinstance(got, Held)
    assert got.text == "GPU 0 is used by python (pid 7)"
    assert got.names == {"GPU-0"}
    again = checked(run.claim(one, tuple(run.gpus)), run.gpus[1:], used=lambda gpu: users[gpu.uuid])
    assert isinstance(again, Claim)
    again.release()
