"""Runs jobs side by side: each on GPUs of its own, those without a GPU in a few slots, each after those it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from orchestrator.claims.claims import Claim, Held
from orchestrator.errors import LockstepError
from orchestrator.executors.protocol import Executor, Job, Log, Needs, Outcome, Status, Stop
from orchestrator.scheduling.contention import Contention, adopt_orphans, claim_some, grant
from orchestrator.scheduling.gpus import Gpu
from orchestrator.scheduling.planned import Decide as Decide
from orchestrator.scheduling.planned import Event as Event
from orchestrator.scheduling.planned import Finished as Finished
from orchestrator.scheduling.planned import Outcomes as Outcomes
from orchestrator.scheduling.planned import Planned as Planned
from orchestrator.scheduling.planned import Started as Started
from orchestrator.scheduling.planned import Waiting as Waiting
from orchestrator.scheduling.planned import after_ok as after_ok
from orchestrator.scheduling.planned import broken, check_plan, skipped
from orchestrator.scheduling.planned import is_failure as is_failure

INTERRUPTED = Outcome(status=Status.SKIPPED, reason="interrupted")
DEADLINE = Outcome(status=Status.SKIPPED, reason="deadline reached", conditions={"deadline": True})
RECHECK_SECONDS = 1.0  # how often it is asked whether others have let go

# An outcome, or the job as it shall be put back among those that wait (with more GPUs).
Attempt = Callable[[Planned, Job, Needs, Stop, Log], "Outcome | Planned"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How jobs are run: `slots` of those without a GPU at once; GPUs that others use are not touched.

    `log` opens a job's log. `on_event` is called from one thread only, the one that calls `run`. After it `failed` says,
    for `fail_fast`, whether to stop: a job may end well and a cell of it not.

    `claim` is asked when a job could start, with the GPUs that it would have; it is released after the job's last event.
    What other runs hold is waited for with `wait`, else the job is skipped (`conditions["held"]`); other GPUs are tried
    first. `adopt` sees to its end what a dead orchestrator left at work, in the job's own thread, before it is asked again.
    `attempt` stands for the executor's `run`. After `deadline`, in seconds of the monotonic clock, nothing starts, and
    what runs is stopped (`conditions["deadline"]`).
    """

    executor: Executor
    log: Callable[[Job], Log]
    gpus: Sequence[Gpu] = ()
    slots: int = 1
    decide: Decide = after_ok
    on_event: Callable[[Event], None] = lambda event: None
    fail_fast: bool = False
    failed: Callable[[Outcome], bool] = is_failure
    claim: Callable[[Planned, tuple[Gpu, ...]], Claim | Held] = grant
    wait: bool = False
    adopt: Callable[[Planned, Held, Stop], None] | None = None
    attempt: Attempt | None = None
    deadline: float | None = None

    def run(self, planned: Sequence[Planned], stop: Stop) -> dict[str, Outcome]:
        """Every job's outcome, by key. `stop` ends what runs and skips the rest.

        Raises ValueError for plans that could never end (a job that waits for itself, or for none of them).
        """
        check_plan(tuple(planned))
        return _Going(self, planned, stop).run()


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What a job that is at work has: GPUs and locks; or the orphan that it sees to its end first."""

    planned: Planned
    gpus: tuple[Gpu, ...] = ()
    claim: Claim
    adopting: Held | None = None


_Result = Outcome | Planned | None  # None: what was adopted has ended


class _Going:
    """One run of a schedule: who waits, who runs on which GPUs, what ended how. Touched by one thread only."""

    def __init__(self, schedule: Schedule, planned: Sequence[Planned], stop: Stop) -> None:
        self._schedule = schedule
        self._stop = stop
        self._cut = Stop()  # set by `stop` and by the deadline
        self._late = False
        self._halt = False
        self._order = {p.key: place for place, p in enumerate(planned)}
        self._waiting = list(planned)
        self._running: dict[Future[_Result], _Place] = {}
        self._ended: dict[str, Outcome] = {}
        self._others = Contention(wait=schedule.wait, adopts=schedule.adopt is not None)
        self._usable = [gpu for gpu in schedule.gpus if not gpu.busy]

    def run(self) -> dict[str, Outcome]:
        try:
            with (
                self._stop.rings(self._cut),
                ThreadPoolExecutor(max_workers=max(1, len(self._waiting)), thread_name_prefix="job") as pool,
            ):
                try:
                    while self._waiting or self._running:
                        self._step(pool)
                except BaseException:  # a second Ctrl-C, or a broken console: nothing may go on unseen
                    self._stop.set()
                    self._schedule.executor.close()
                    raise
        finally:
            for place in self._running.values():
                place.claim.release()
        return self._ended

    def _step(self, pool: ThreadPoolExecutor) -> None:
        self._start_ready(pool)
        if self._running:
            done, _ = wait(self._running, timeout=self._pause(), return_when=FIRST_COMPLETED)
            for future in done:
                self._take_back(future)
        elif self._others.held:
            self._stop.wait(self._pause())
        deadline = self._schedule.deadline
        if deadline is not None and not self._late and time.monotonic() >= deadline:
            self._late = True
            self._cut.set()

    def _pause(self) -> float | None:
        """How long to wait for an end: until others may have let go, or the deadline. None: for as long as it takes."""
        waits = [RECHECK_SECONDS] if self._others.held else []
        if self._schedule.deadline is not None and not self._late:
            waits.append(max(0.0, self._schedule.deadline - time.monotonic()))
        return min(waits, default=None)

    def _take_back(self, future: Future[_Result]) -> None:
        place = self._running.pop(future)
        try:
            result = _result_of(future)
            if isinstance(result, Outcome):
                late = self._late and not self._stop.is_set() and result.status is Status.SKIPPED
                if late and result.reason == INTERRUPTED.reason:
                    told = {**result.conditions, **DEADLINE.conditions}
                    result = replace(result, reason=DEADLINE.reason, conditions=told)
                self._finish(place.planned, result)
            else:
                if place.adopting:
                    self._others.adopted(place.planned.key, place.adopting)
                self._waiting.append(result or place.planned)
                self._waiting.sort(key=lambda p: self._order[p.key])
        finally:
            place.claim.release()

    def _finish(self, planned: Planned, outcome: Outcome) -> None:
        self._ended[planned.key] = outcome
        self._schedule.on_event(Finished(planned=planned, outcome=outcome))
        self._halt |= self._schedule.fail_fast and self._schedule.failed(outcome)

    def _start_ready(self, pool: ThreadPoolExecutor) -> None:
        """In the plan's order. A job that waits for GPUs keeps those that are free for it: wide ones get their turn."""
        leased = [gpu for place in self._running.values() for gpu in place.gpus]
        free = [gpu for gpu in self._usable if gpu not in leased]
        slots = max(1, self._schedule.slots) - sum(place.planned.gpus == 0 for place in self._running.values())
        for planned in list(self._waiting):
            if closed := self._closed():
                self._drop(planned, closed)
            elif not self._ended.keys() >= set(planned.after):
                continue
            elif planned.gpus == 0:
                if slots > 0:
                    slots -= self._start(pool, planned, []) is not None
            elif reason := planned.unfit(self._schedule.gpus):
                self._drop(planned, skipped(reason))
            else:
                kept = self._start(pool, planned, planned.fitting(free)) or ()
                free = [gpu for gpu in free if gpu not in kept]

    def _closed(self) -> Outcome | None:
        if self._stop.is_set():
            return INTERRUPTED
        deadline = self._schedule.deadline
        if deadline is not None and (self._late or time.monotonic() >= deadline):
            return DEADLINE
        return skipped("stopped at the first failure") if self._halt else None

    def _drop(self, planned: Planned, outcome: Outcome) -> None:
        self._waiting.remove(planned)
        self._others.forget(planned.key)
        self._finish(planned, outcome)

    def _start(self, pool: ThreadPoolExecutor, planned: Planned, fitting: list[Gpu]) -> Sequence[Gpu] | None:
        """Start it where it can: the GPUs that are its own now, or are kept for it. None: it takes nothing."""
        if len(fitting) < planned.gpus:
            return fitting
        try:
            got, gpus = claim_some(self._schedule.claim, planned, fitting)
        except (LockstepError, OSError) as error:
            self._drop(planned, broken(error))
            return None
        if isinstance(got, Held):
            return self._held_back(pool, planned, got, gpus)
        self._schedule.on_event(Started(planned=planned, gpus=gpus))
        needs = replace(planned.needs, gpus=tuple(gpu.uuid for gpu in gpus))
        ended = {key: self._ended[key] for key in planned.after}
        place = _Place(planned=planned, gpus=gpus, claim=got)
        self._submit(pool, place, lambda: _run_one(self._schedule, planned, needs, ended, self._cut))
        return gpus

    def _held_back(
        self, pool: ThreadPoolExecutor, planned: Planned, held: Held, left: Sequence[Gpu]
    ) -> Sequence[Gpu] | None:
        """GPUs that nobody holds are kept for it where, with those that our own jobs have, there are enough."""
        ours = planned.fitting(gpu for place in self._running.values() for gpu in place.gpus)
        only_gpus = held.names <= {gpu.uuid for gpu in self._usable}
        enough = only_gpus and len(left) + len(ours) >= planned.gpus
        adopting = {mark for place in self._running.values() if place.adopting for mark in place.adopting.holders}
        at_work = bool(self._running)
        verdict = self._others.verdict(planned.key, held, adopting=adopting, at_work=at_work, enough=enough)
        if verdict == "drop":
            said = f"{held.text}; --wait waits for it"
            self._drop(planned, replace(skipped(said), conditions={"held": True}))
            return None
        if verdict != "own" and self._others.is_new(planned.key, held):
            self._schedule.on_event(Waiting(planned=planned, held=held))
        if verdict == "adopt":
            place = _Place(planned=planned, claim=Claim(), adopting=held)
            self._submit(pool, place, lambda: adopt_orphans(self._schedule.adopt, planned, held, self._cut))
            return ()
        return left if enough else None

    def _submit(self, pool: ThreadPoolExecutor, place: _Place, work: Callable[[], _Result]) -> None:
        self._waiting.remove(place.planned)
        self._others.forget(place.planned.key)
        self._running[pool.submit(work)] = place


def _run_one(schedule: Schedule, planned: Planned, needs: Needs, ended: Outcomes, stop: Stop) -> Outcome | Planned:
    decided = schedule.decide(planned, ended)
    if isinstance(decided, str):
        return skipped(decided)
    log = schedule.log(decided)
    if schedule.attempt is not None:
        return schedule.attempt(planned, decided, needs, stop, log)
    return schedule.executor.run(decided, needs=needs, stop=stop, log=log)


def _result_of(future: Future[_Result]) -> _Result:
    error = future.exception()
    return future.result() if error is None else broken(error)
