"""Runs jobs side by side: each on GPUs of its own, those without a GPU in a few slots, each after those it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from orchestrator.errors import LockstepError
from orchestrator.executors.protocol import Executor, Job, Log, Needs, Outcome, Status, Stop
from orchestrator.gpus import Gpu, unfit, unsuited

INTERRUPTED = Outcome(status=Status.SKIPPED, reason="interrupted")


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A job and what it waits for. `gpus` 0: it takes a CPU slot. `needs.gpus` is filled in when it starts.

    `after` are keys of other planned jobs that have ended, well or not, before this one is looked at.
    """

    job: Job
    gpus: int = 0
    vram_gb: float = 0
    min_driver: int | None = None
    gpu_arch: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    after: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.job.key


@dataclass(frozen=True, kw_only=True)
class Started:
    planned: Planned
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Also of jobs that never started."""

    planned: Planned
    outcome: Outcome


Event = Started | Finished
Outcomes = Mapping[str, Outcome]
# Before a job starts, in its own thread: the job as it shall run, or the reason why it shall not.
Decide = Callable[[Planned, Outcomes], "Job | str"]


def after_ok(planned: Planned, ended: Outcomes) -> Job | str:
    """Run a job only where all that it comes after is ok."""
    for key in planned.after:
        if ended[key].status is not Status.OK:
            return f"needs {key}, which is {ended[key].status.value}: {ended[key].reason}"
    return planned.job


def is_failure(outcome: Outcome) -> bool:
    return outcome.status not in (Status.OK, Status.SKIPPED)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How jobs are run: `slots` of those without a GPU at once; GPUs that others use are not touched.

    `log` opens a job's log. `on_event` is called from one thread only, the one that calls `run`. After it `failed` says,
    for `fail_fast`, whether to stop: a job may end well and a cell of it not.
    """

    executor: Executor
    log: Callable[[Job], Log]
    gpus: Sequence[Gpu] = ()
    slots: int = 1
    decide: Decide = after_ok
    on_event: Callable[[Event], None] = lambda event: None
    fail_fast: bool = False
    failed: Callable[[Outcome], bool] = is_failure

    def run(self, planned: Sequence[Planned], stop: Stop) -> dict[str, Outcome]:
        """Every job's outcome, by key. `stop` ends what runs and skips the rest.

        Raises ValueError for plans that could never end (a job that waits for itself, or for none of them).
        """
        _check(planned)
        return _Going(self, planned, stop).run()


def _check(planned: Sequence[Planned]) -> None:
    keys = [p.key for p in planned]
    if len(set(keys)) != len(keys):
        raise ValueError(f"two jobs have one key: {sorted(k for k in keys if keys.count(k) > 1)[0]}")
    done: set[str] = set()
    left = list(planned)
    while left:
        later = [p for p in left if not done.issuperset(p.after)]
        if len(later) == len(left):
            first = later[0]
            raise ValueError(f"{first.key} waits for {', '.join(first.after)}, which never ends or is not planned")
        done.update(p.key for p in left if p not in later)
        left = later


class _Going:
    """One run of a schedule: who waits, who runs on which GPUs, what ended how. Touched by one thread only."""

    def __init__(self, schedule: Schedule, planned: Sequence[Planned], stop: Stop) -> None:
        self._schedule = schedule
        self._stop = stop
        self._halt = False
        self._waiting = list(planned)
        self._running: dict[Future[Outcome], tuple[Planned, tuple[Gpu, ...]]] = {}
        self._ended: dict[str, Outcome] = {}
        self._usable = [gpu for gpu in schedule.gpus if not gpu.busy]

    def run(self) -> dict[str, Outcome]:
        widest = max(1, self._schedule.slots) + len(self._usable)
        with ThreadPoolExecutor(max_workers=widest, thread_name_prefix="job") as pool:
            try:
                while self._waiting or self._running:
                    self._step(pool)
            except BaseException:  # a second Ctrl-C, or a broken console: nothing may go on unseen
                self._stop.set()
                self._schedule.executor.close()
                raise
        return self._ended

    def _step(self, pool: ThreadPoolExecutor) -> None:
        self._start_ready(pool)
        if not self._running:
            return
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            planned, _ = self._running.pop(future)
            self._finish(planned, _outcome_of(future))

    def _finish(self, planned: Planned, outcome: Outcome) -> None:
        self._ended[planned.key] = outcome
        self._schedule.on_event(Finished(planned=planned, outcome=outcome))
        self._halt |= self._schedule.fail_fast and self._schedule.failed(outcome)

    def _start_ready(self, pool: ThreadPoolExecutor) -> None:
        """In the plan's order. A job that waits for GPUs keeps those that are free for it: wide ones get their turn."""
        held = [gpu for _, gpus in self._running.values() for gpu in gpus]
        free = [gpu for gpu in self._usable if gpu not in held]
        slots = max(1, self._schedule.slots) - sum(planned.gpus == 0 for planned, _ in self._running.values())
        for planned in list(self._waiting):
            if self._stop.is_set() or self._halt:
                self._drop(planned, INTERRUPTED if self._stop.is_set() else _skipped("stopped at the first failure"))
            elif not self._ended.keys() >= set(planned.after):
                continue
            elif planned.gpus == 0:
                if slots > 0:
                    slots -= 1
                    self._start(pool, planned, ())
            elif reason := self._never(planned):
                self._drop(planned, _skipped(reason))
            else:
                lease = tuple(_smallest_first(free, planned))[: planned.gpus]
                free = [gpu for gpu in free if gpu not in lease]
                if len(lease) == planned.gpus:
                    self._start(pool, planned, lease)

    def _never(self, planned: Planned) -> str:
        reason = unfit(
            self._schedule.gpus,
            count=planned.gpus,
            vram_gb=planned.vram_gb,
            min_driver=planned.min_driver,
            gpu_arch=planned.gpu_arch,
        )
        return reason or ""

    def _drop(self, planned: Planned, outcome: Outcome) -> None:
        self._waiting.remove(planned)
        self._finish(planned, outcome)

    def _start(self, pool: ThreadPoolExecutor, planned: Planned, lease: tuple[Gpu, ...]) -> None:
        self._waiting.remove(planned)
        self._schedule.on_event(Started(planned=planned, gpus=lease))
        needs = replace(planned.needs, gpus=tuple(gpu.uuid for gpu in lease))
        ended = {key: self._ended[key] for key in planned.after}
        self._running[pool.submit(_run_one, self._schedule, planned, needs, ended, self._stop)] = (planned, lease)


def _smallest_first(free: Sequence[Gpu], planned: Planned) -> list[Gpu]:
    """The free GPUs that would do, those with least memory first: big ones stay for who needs them."""
    fitting = [
        gpu
        for gpu in free
        if not unsuited(gpu, vram_gb=planned.vram_gb, min_driver=planned.min_driver, gpu_arch=planned.gpu_arch)
    ]
    return sorted(fitting, key=lambda gpu: gpu.memory_gb)


def _run_one(schedule: Schedule, planned: Planned, needs: Needs, ended: Outcomes, stop: Stop) -> Outcome:
    decided = schedule.decide(planned, ended)
    if isinstance(decided, str):
        return _skipped(decided)
    return schedule.executor.run(decided, needs=needs, stop=stop, log=schedule.log(decided))


def _skipped(reason: str) -> Outcome:
    return Outcome(status=Status.SKIPPED, reason=reason)


def _outcome_of(future: Future[Outcome]) -> Outcome:
    """A broken tool is no fault of the model: what an executor raises becomes `infra` with its message."""
    error = future.exception()
    if error is None:
        return future.result()
    said = " · ".join(error.problems) if isinstance(error, LockstepError) else f"{type(error).__name__}: {error}"
    return Outcome(status=Status.INFRA, reason=said)
