"""Who holds what, as values: the mark in a lock file, and why a claim was not granted."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from orchestrator.claims.process import Process, this_process
from orchestrator.terminal.visible import one_line


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Who holds a lock, as written into it: no secrets. `job_key` is empty for a whole run, `folder` the run's own."""

    run_id: str
    job_key: str = ""
    folder: str = ""
    project: str = ""
    executor: str = ""
    command: str = ""
    user: str
    since: str
    process: Process

    @property
    def who(self) -> str:
        """`run 20261121-0200 of alice (pid 4711 on node3, since 02:00)`."""
        place = f"pid {self.process.pid} on {self.process.host}, since {_clock(self.since)}"
        return one_line(f"run {self.run_id} of {self.user} ({place})", 300)


def make_mark(
    *, run_id: str, job_key: str = "", folder: Path, project: str, executor: str = "", command: str = ""
) -> Mark:
    """This process's own, from now."""
    return Mark(
        run_id=run_id,
        job_key=job_key,
        folder=str(folder),
        project=project,
        executor=executor,
        command=command[:2000],
        user=user_name(),
        since=datetime.now().astimezone().isoformat(timespec="seconds"),
        process=this_process(),
    )


# Whether a container of that job, whose orchestrator has died, still works.
Alive = Callable[[Mark], bool]
# held: by a living process · orphan: by what a dead one's job left in the engine · elsewhere: by a process of another
# machine that does not lock it (any more) and cannot be looked at · left: by a dead one; whoever claims it has it
State = Literal["held", "orphan", "elsewhere", "left"]


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """One lock that is not free. `name` is the identity or the GPU's UUID; no `holder`: it does not say who it is.

    `said` is for what is in use by others without a lock: a GPU on which some program computes.
    """

    path: Path
    state: State
    holder: Mark | None = None
    said: str = ""

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(".lock")

    @property
    def text(self) -> str:
        if self.said:
            return one_line(self.said)
        if self.holder is None:
            return f"held by a process that does not say who it is ({self.path})"
        if self.state == "orphan":
            return f"held by what {self.holder.who} left at work: python run_matrix.py clean lists it"
        if self.state == "left":
            return f"left by {self.holder.who}, which has ended"
        if self.state == "elsewhere":
            there = f"type python run_matrix.py clean --yes on {one_line(self.holder.process.host, 80)}"
            return f"held by {self.holder.who}; if that has ended, {there}, or remove {self.path}"
        return f"held by {self.holder.who}"


@dataclass(frozen=True, kw_only=True)
class Held:
    """Why a claim was not granted."""

    blocked: tuple[Blocked, ...]

    @property
    def text(self) -> str:
        """One line for people."""
        return "; ".join(dict.fromkeys(b.text for b in self.blocked))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(b.name for b in self.blocked)

    @property
    def orphan(self) -> bool:
        """Nothing but containers of dead orchestrators is in the way: they can be adopted."""
        return all(b.state == "orphan" for b in self.blocked)

    @property
    def holders(self) -> tuple[Mark, ...]:
        return tuple(dict.fromkeys(b.holder for b in self.blocked if b.holder is not None))


def to_bytes(mark: Mark) -> bytes:
    return json.dumps(asdict(mark)).encode()


def from_bytes(content: bytes) -> Mark | None:
    """None where it is empty or not ours to understand."""
    try:
        value = json.loads(content)
        process = Process(**{**value.pop("process")})
        mark = Mark(**value, process=process)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    texts = [*value.values(), process.host, process.boot, process.start]
    return mark if all(isinstance(text, str) for text in texts) and isinstance(process.pid, int) else None


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return str(os.getuid())


def _clock(since: str) -> str:
    """Hours and minutes; with the date where it was another day."""
    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        return since
    return f"{at:%H:%M}" if at.date() == datetime.now(at.tzinfo).date() else f"{at:%Y-%m-%d %H:%M}"
