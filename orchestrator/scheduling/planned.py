"""What a schedule is given and what it tells: planned jobs, and the events of their lives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.claims.claims import Held
from orchestrator.errors import LockstepError
from orchestrator.executors.protocol import Job, Needs, Outcome, Status
from orchestrator.scheduling.gpus import Gpu, unfit, unsuited


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

    def fitting(self, gpus: Iterable[Gpu]) -> list[Gpu]:
        """Those that would do, the ones with least memory first: big ones stay for who needs them."""

        def why_not(gpu: Gpu) -> str:
            return unsuited(gpu, vram_gb=self.vram_gb, min_driver=self.min_driver, gpu_arch=self.gpu_arch)

        return sorted((gpu for gpu in gpus if not why_not(gpu)), key=lambda gpu: gpu.memory_gb)

    def unfit(self, gpus: Sequence[Gpu]) -> str:
        """Why it can never run on these; empty where it can."""
        return (
            unfit(gpus, count=self.gpus, vram_gb=self.vram_gb, min_driver=self.min_driver, gpu_arch=self.gpu_arch) or ""
        )


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """It could start, were it not for what another run holds. Told once for each holder."""

    planned: Planned
    held: Held


@dataclass(frozen=True, kw_only=True)
class Started:
    """More than once where a job was put back to take more GPUs."""

    planned: Planned
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Also of jobs that never started."""

    planned: Planned
    outcome: Outcome


Event = Waiting | Started | Finished
Outcomes = Mapping[str, Outcome]
# Before a job starts, in its own thread: the job as it shall run, or the reason why it shall not.
Decide = Callable[[Planned, Outcomes], "Job | str"]


def after_ok(planned: Planned, ended: Outcomes) -> Job | str:
    """Run a job only where all that it comes after is ok."""
    for key in planned.after:
        if ended[key].status is not Status.OK:
            return f"needs {key}, which is {ended[key].status.value}: {ended[key].reason}"
    return planned.job


def skipped(reason: str) -> Outcome:
    return Outcome(status=Status.SKIPPED, reason=reason)


def broken(error: BaseException) -> Outcome:
    """A broken tool is no fault of the model: `infra`, with its message."""
    said = " · ".join(error.problems) if isinstance(error, LockstepError) else f"{type(error).__name__}: {error}"
    return Outcome(status=Status.INFRA, reason=said)


def is_failure(outcome: Outcome) -> bool:
    return outcome.status not in (Status.OK, Status.SKIPPED)


def check_plan(planned: tuple[Planned, ...]) -> None:
    """Raises ValueError for plans that could never end: a job that waits for itself, or for none of them."""
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
