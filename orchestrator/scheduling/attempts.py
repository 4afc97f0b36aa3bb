"""A job's starts, one after the other: infra again with back-off, oom under the next fallback, a hung cell left out.

What the model itself did wrong is never repeated. Every further start uses up a try, a fallback or a cell, so that there
is an end to it; what an earlier start finished is kept, and only what is missing is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential, wait_random

from orchestrator.errors import EnvironmentUnavailable, Unavailable
from orchestrator.executors.protocol import Executor, Job, Log, Needs, Outcome, Status, Stop
from orchestrator.records.record import Attempt
from orchestrator.registry.schema import Fallback, Retries
from orchestrator.runs.log import now
from orchestrator.scheduling.course import FINAL, Course
from orchestrator.scheduling.gpus import Gpu
from orchestrator.scheduling.planned import Planned, broken
from orchestrator.scheduling.unfinished import JobFolder, cell_of, names


def _wait(seconds: float, stop: Stop) -> None:
    stop.wait(seconds)


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Of one run: `attempt` is what its schedule calls in place of the executor, in any of its threads.

    `on_oom`: a model's fallbacks, by its name. `deadline`: of the run, in `clock`'s seconds. `say` gets a line for
    each further start.
    """

    executor: Executor
    retries: Retries = field(default_factory=Retries)
    on_oom: Mapping[str, Sequence[Fallback]] = field(default_factory=dict)
    gpus: Sequence[Gpu] = ()
    deadline: float | None = None
    say: Callable[[str], object] = lambda line: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float, Stop], None] = _wait
    now: Callable[[], datetime] = now
    _courses: dict[str, Course] = field(default_factory=dict)

    def attempt(self, planned: Planned, job: Job, needs: Needs, stop: Stop, log: Log) -> Outcome | Planned:
        """Start the job until it has ended for good; or the job as the schedule shall put it back, with more GPUs.

        Raises OSError where the job's own folder cannot be used, ValueError where its job.json is none.
        """
        if job.key not in self._courses:
            folder = JobFolder(job)
            model = folder.file.model.name if folder.file.model else ""
            self._courses[job.key] = Course(folder=folder, fallbacks=list(self.on_oom.get(model, ())))
        course = self._courses[job.key]
        result = _Going(self, course, planned, job, needs, stop, log).to_the_end()
        course.folder.restore()
        return result

    def began(self, job: str) -> bool:
        """Whether the job was started before: then its folder holds what that start left, and is not to be touched."""
        return job in self._courses

    def outcome_of(self, job: str, cell: str) -> Outcome | None:
        """How the start ended in which a cell (slug of its benchmark) ended; None where its job never started."""
        course = self._courses.get(job)
        return course.outcome(cell) if course else None

    def attempts_of(self, job: str, cell: str) -> list[Attempt]:
        """The starts of a cell that did not end well for it, or ended under changed conditions."""
        course = self._courses.get(job)
        return course.attempts(cell) if course else []


@dataclass(frozen=True)
class _Going:
    """One call of `attempt`."""

    attempts: Attempts
    course: Course
    planned: Planned
    job: Job
    needs: Needs
    stop: Stop
    log: Log

    def to_the_end(self) -> Outcome | Planned:
        while True:
            outcome = self._persistently()
            if outcome.status in (Status.INFRA, Status.TIMEOUT, Status.OOM) and not self.course.open:
                return self._final(Outcome(status=Status.OK, conditions=outcome.conditions))  # all results are there
            again: bool | Planned = False
            if outcome.status in (Status.OOM, Status.TIMEOUT, Status.FAILED) and not self._over():
                again = self._fallback(outcome) or self._without_culprit(outcome)
            if isinstance(again, Planned):
                return again
            if not again:
                return self._final(outcome)

    def _final(self, outcome: Outcome) -> Outcome:
        """The last start's, or, where that went well, of the first cell that had to be left out."""
        if outcome.status is Status.OK and self.course.culprits:
            return next(iter(self.course.culprits.values()))
        return self._noted(outcome)

    def _noted(self, outcome: Outcome) -> Outcome:
        """With the changed conditions, and why there was no further start."""
        conditions = {**outcome.conditions, **self.course.changed}
        return replace(outcome, reason=self.course.reason(outcome), conditions=conditions)

    # --- infra --------------------------------------------------------------------------------------------------------

    def _persistently(self) -> Outcome:
        """Start; where it ends as infra, wait and start again, as often and as long as the registry's `retries` say."""
        first, longest = self.attempts.retries.wait_seconds, self.attempts.retries.max_wait_seconds
        wait = wait_exponential(multiplier=first, max=longest) + wait_random(0, first / 2)
        trying = Retrying(
            retry=retry_if_result(self._may_pass),
            wait=lambda state: min(wait(state), longest),
            stop=self._gives_up,
            before_sleep=self._says_so,
            sleep=self._sleep,
            retry_error_callback=lambda state: self.course.last.outcome,
        )
        return trying(self._start)

    def _may_pass(self, outcome: Outcome) -> bool:
        lasting = outcome.status is not Status.INFRA or outcome.conditions.get(FINAL)
        return not lasting and not self._over() and bool(self.course.open)

    def _gives_up(self, state: RetryCallState) -> bool:
        """`attempts` and `budget_minutes` are of the job, whatever else it was started again for."""
        wait, retries, deadline = state.upcoming_sleep, self.attempts.retries, self.attempts.deadline
        note = ""
        if self.course.infra >= retries.attempts:
            note = f"started {self.course.infra} times"
        elif self.course.spent + wait > retries.budget_minutes * 60:
            note = f"no further try within retries.budget_minutes ({retries.budget_minutes:g})"
        elif deadline is not None and self.attempts.clock() + wait >= deadline:
            note = "no further try before the deadline"
        if note:
            self.course.notes.append(note)
        return bool(note)

    def _says_so(self, state: RetryCallState) -> None:
        tries = f"try {self.course.infra + 1} of {self.attempts.retries.attempts} in {state.upcoming_sleep:.0f} s"
        self._tell(f"infra: {self.course.last.outcome.reason}; {tries}")

    def _sleep(self, seconds: float) -> None:
        began = self.attempts.clock()
        self.attempts.sleep(seconds, self.stop)
        self.course.spent += self.attempts.clock() - began

    def _start(self) -> Outcome:
        course, clock = self.course, self.attempts.clock
        if course.starts:
            if self._over():  # while it waited
                return course.last.outcome
            course.folder.prepare(course.culprits, course.changed)
        cells, asked, at = course.open, course.asking(), self.attempts.now().isoformat(timespec="seconds")
        repeated, began = course.infra > 0, clock()
        try:
            outcome = self.attempts.executor.run(self.job, needs=self._needs(), stop=self.stop, log=self.log)
        except Exception as error:
            outcome = _from_error(error)
        took = clock() - began
        course.spent += took if repeated else 0
        course.ran += took if outcome.status is not Status.INFRA else 0
        course.add(at, cells, asked, outcome)
        return outcome

    def _needs(self) -> Needs:
        """A job's own timeout is over all its starts but those that the machine ended."""
        limit = self.needs.timeout_seconds
        return (
            self.needs
            if limit is None
            else replace(self.needs, timeout_seconds=max(limit - self.course.ran, min(limit, 1.0)))
        )

    # --- oom, timeout, failed -----------------------------------------------------------------------------------------

    def _fallback(self, outcome: Outcome) -> bool | Planned:
        """Whether to start again under the next fallback; one that this machine cannot offer is passed over."""
        course = self.course
        asks = course.folder.answers and not outcome.stage.endswith("/evaluate")  # scoring holds no model
        if outcome.status is not Status.OOM or not asks:
            return False
        while course.fallbacks:
            fallback = course.fallbacks.pop(0)
            ((name, value),) = fallback.model_dump(exclude_none=True).items()
            if lacking := self._lacks(fallback.gpus):
                course.notes.append(f"on_oom {name} {value} passed over: {lacking}")
                self._tell(course.notes[-1])
                continue
            course.changed[name] = value
            self._tell(f"oom: {outcome.reason}; again with {name} {value}")
            return replace(self.planned, gpus=fallback.gpus) if fallback.gpus else True
        return False

    def _lacks(self, count: int | None) -> str:
        if count is None:
            return ""
        if count <= self.planned.gpus:
            return f"it had {self.planned.gpus} already"
        return replace(self.planned, gpus=count).unfit(self.attempts.gpus)

    def _without_culprit(self, outcome: Outcome) -> bool:
        """Whether to go on without the cell in which it ended: where others have not had their turn, and time is left."""
        course, culprit, limit = self.course, cell_of(outcome.stage), self.needs.timeout_seconds
        others = [c for c in course.open if c != culprit and not course.folder.had_turn(c)]
        if culprit not in course.last.cells or not others or (limit is not None and course.ran >= limit):
            return False
        if culprit in course.open:
            course.culprits[culprit] = self._noted(outcome)
        self._tell(f"{outcome.status.value}: {outcome.reason}; goes on without {culprit}, with {names(others)}")
        return True

    def _over(self) -> bool:
        """Nothing starts after a stop or the run's deadline."""
        deadline = self.attempts.deadline
        return self.stop.is_set() or (deadline is not None and self.attempts.clock() >= deadline)

    def _tell(self, what: str) -> None:
        self.attempts.say(f"job {self.job.key}: {what}")


def _from_error(error: Exception) -> Outcome:
    """What an executor raises is a broken tool: infra. An engine or a disk may come back; what else it is, stays."""
    passes = isinstance(error, Unavailable | OSError) and not isinstance(error, EnvironmentUnavailable)
    return replace(broken(error), conditions={} if passes else {FINAL: True})
