"""What other runs hold: which GPUs to try instead, and whether a job waits, adopts what is left at work, or is dropped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from orchestrator.claims.claims import Blocked, Claim, Held, Mark, gpu_lock, taken_over
from orchestrator.claims.process import this_process
from orchestrator.executors.protocol import Stop
from orchestrator.scheduling.gpus import Gpu, used_now
from orchestrator.scheduling.planned import Planned

Ask = Callable[[Planned, tuple[Gpu, ...]], Claim | Held]


def grant(planned: Planned, gpus: Sequence[Gpu]) -> Claim | Held:
    """Where nothing is shared with other runs."""
    return Claim()


def checked(got: Claim | Held, gpus: Sequence[Gpu], used: Callable[[Gpu], str] = used_now) -> Claim | Held:
    """A GPU that was in use when the run began may be so by a program that takes no lock: then it stays theirs."""
    if isinstance(got, Held):
        return got
    try:
        theirs = [(gpu, who) for gpu in gpus if gpu.held and (who := used(gpu))]
    except BaseException:
        got.release()
        raise
    if not theirs:
        return got
    got.release()
    said = [Blocked(path=gpu_lock(gpu.uuid), state="held", said=f"GPU {gpu.index} is {who}") for gpu, who in theirs]
    return Held(blocked=tuple(said))


def claim_some(ask: Ask, planned: Planned, fitting: Sequence[Gpu]) -> tuple[Claim | Held, tuple[Gpu, ...]]:
    """Claim with the first GPUs that nobody holds; of a refusal, the GPUs that nobody holds where those were too few."""
    left = tuple(fitting)
    while True:
        lease = left[: planned.gpus]
        got = checked(ask(planned, lease), lease)
        if isinstance(got, Claim):
            return got, lease
        if not any(gpu.uuid in got.names for gpu in lease):
            return got, ()
        left = tuple(gpu for gpu in left if gpu.uuid not in got.names)
        if len(left) < planned.gpus:
            return got, left


def adopt_orphans(
    adopt: Callable[[Planned, Held, Stop], None] | None, planned: Planned, held: Held, stop: Stop
) -> None:
    """Where another run adopts them already, that one sees them to their end."""
    assert adopt is not None
    with taken_over(held) as ours:
        if ours:
            adopt(planned, held, stop)


class Contention:
    """Who is in the way of which waiting job. `held` has those that are to be asked for again soon."""

    def __init__(self, *, wait: bool, adopts: bool) -> None:
        self.held: dict[str, tuple[Mark, ...]] = {}
        self._wait = wait
        self._adopts = adopts
        self._adopted: set[tuple[str, Mark]] = set()

    def adopted(self, key: str, held: Held) -> None:
        """What held this job has been seen to its end: where it is still in the way, that was no help."""
        self._adopted.update((key, mark) for mark in held.holders)

    def forget(self, key: str) -> None:
        self.held.pop(key, None)

    def verdict(
        self, key: str, held: Held, *, adopting: Collection[Mark], at_work: bool, enough: bool
    ) -> Literal["adopt", "wait", "own", "drop"]:
        """`own`: to be tried again when one of our own jobs has ended.

        `adopting`: whose orphans our jobs adopt. `at_work`: some job of ours is. `enough`: it has what this one lacks.
        """
        if adopting and set(held.holders) <= set(adopting):
            return "own"
        if at_work and held.holders and all(mark.process == this_process() for mark in held.holders):
            return "own"
        if held.orphan and self._adopts and not any((key, mark) in self._adopted for mark in held.holders):
            return "adopt"
        if self._wait:
            return "wait"
        return "own" if at_work and enough else "drop"

    def is_new(self, key: str, held: Held) -> bool:
        """Whether this job now waits for others than before."""
        before = self.held.get(key)
        self.held[key] = held.holders
        return before != held.holders
