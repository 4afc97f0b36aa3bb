"""Who works on what: locks per stage identity and per GPU, all or nothing, so that no two runs do the same work at once.

A lock is a file that its holder keeps locked (flock: the kernel lets go of it when the process dies) and whose content
names the holder. One that a dead process left is taken over, unless a container of its job still works.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from orchestrator.claims.files import open_lock, read_mark, still_there, try_flock, write_mark
from orchestrator.claims.marks import Alive as Alive
from orchestrator.claims.marks import Blocked as Blocked
from orchestrator.claims.marks import Held as Held
from orchestrator.claims.marks import Mark as Mark
from orchestrator.claims.marks import State, from_bytes, to_bytes
from orchestrator.claims.marks import make_mark as make_mark
from orchestrator.claims.process import Life
from orchestrator.layout import slug

_PATIENCE_SECONDS = 0.5  # while a lock is held by nobody in particular: somebody looks at it, or is about to sign


class Claim:
    """Locks that are ours until `release`, the end of `with`, or the end of this process."""

    def __init__(self, descriptors: Iterable[int] = ()) -> None:
        self._descriptors = list(descriptors)
        self._guard = threading.Lock()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Empty them and let go. More than once is fine, from any thread."""
        with self._guard:
            while self._descriptors:
                descriptor = self._descriptors.pop()
                with suppress(OSError):  # the disk is gone: what is not locked and not ours counts as left
                    write_mark(descriptor, b"")
                os.close(descriptor)


def identity_lock(outputs: Path, identity: str) -> Path:
    """The lock of what a stage makes: for all runs that share one output root."""
    return outputs / ".locks" / f"{slug(identity.removeprefix('sha256:'))}.lock"


def gpu_lock(uuid: str, folder: Path | None = None) -> Path:
    """The lock of a GPU or MIG slice: for all users of this machine."""
    return (folder or gpu_folder()) / f"{slug(uuid)}.lock"


def gpu_folder() -> Path:
    """`/run/lock` where all may write there, as on Debian: nothing clears it while the machine is up."""
    machine = Path("/run/lock")
    open_to_all = machine.is_dir() and stat.S_IMODE(machine.stat().st_mode) & 0o1777 == 0o1777
    return (machine if open_to_all else Path("/tmp")) / "lockstep-gpus"


def nothing_lives(mark: Mark) -> bool:
    return False


def claim(paths: Iterable[Path], *, mark: Mark, alive: Alive = nothing_lives) -> Claim | Held:
    """All of these locks, or none and who has them; waits for nobody, so that no two claims can wait for each other.

    `alive` is asked of dead holders alone. Raises Unavailable where a lock cannot be written, and what `alive` raises.
    """
    wanted = sorted(set(paths))
    taken: list[int] = []
    try:
        for place, path in enumerate(wanted):
            got = _take(path, mark, alive)
            if isinstance(got, Blocked):
                others = [b for b in probe(wanted[place + 1 :]) if b.state != "left"]
                return Held(blocked=(got, *others))
            taken.append(got)
        content = to_bytes(mark)
        for descriptor in taken:
            write_mark(descriptor, content)
        made, taken = Claim(taken), []
        return made
    finally:
        for descriptor in taken:  # as they were found: what a dead process left there still tells of its container
            os.close(descriptor)


def probe(paths: Iterable[Path]) -> list[Blocked]:
    """Those that are not free, without taking them; no container engine is asked: `left` may be an orphan."""
    found = []
    for path in paths:
        try:
            descriptor = open_lock(path, create=False)
        except FileNotFoundError:
            continue
        try:
            free = try_flock(descriptor, shared=True)
            holder = from_bytes(read_mark(descriptor))
            if not free:
                found.append(Blocked(path=path, state="held", holder=holder))
            elif holder is not None:
                found.append(Blocked(path=path, state=_unlocked(holder), holder=holder))
        finally:
            os.close(descriptor)
    return found


@contextmanager
def taken_over(held: Held) -> Iterator[bool]:
    """Inside, the orphaned locks are locked by us as they are, where the value is True: one adopts, others wait."""
    taken: list[int] = []
    try:
        for blocked in held.blocked:
            taken.append(open_lock(blocked.path))
        yield all([try_flock(descriptor) for descriptor in taken])
    finally:
        for descriptor in taken:
            os.close(descriptor)


def _take(path: Path, mark: Mark, alive: Alive) -> int | Blocked:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        descriptor = open_lock(path)
        try:
            if not try_flock(descriptor):
                holder = from_bytes(read_mark(descriptor))
                signed = holder is not None and holder.process.life is not Life.DEAD
                if signed or time.monotonic() > until:
                    return Blocked(path=path, state="held", holder=holder)
            elif still_there(descriptor, path):
                holder = from_bytes(read_mark(descriptor))
                if holder is None or _same_job(holder, mark):
                    return os.dup(descriptor)
                state = "orphan" if _unlocked(holder) == "left" and alive(holder) else _unlocked(holder)
                return os.dup(descriptor) if state == "left" else Blocked(path=path, state=state, holder=holder)
        finally:
            os.close(descriptor)
        time.sleep(0.01)


def _unlocked(holder: Mark) -> State:
    """Of a lock that nobody holds, as far as this kernel knows, though it is signed."""
    return "left" if holder.process.here or holder.process.life is Life.DEAD else "elsewhere"


def _same_job(holder: Mark, mark: Mark) -> bool:
    """A run that is resumed finds its own job's container itself."""
    return (holder.project, holder.run_id, holder.job_key) == (mark.project, mark.run_id, mark.job_key)
