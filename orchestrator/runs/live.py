"""`live.json`: what a run does now, for whoever looks from another terminal; what it did last, where it was killed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.claims.marks import user_name
from orchestrator.claims.process import Life, Process, this_process
from orchestrator.errors import LockstepError
from orchestrator.files import replace_file
from orchestrator.layout import RunLayout
from orchestrator.runs.log import now
from orchestrator.scheduling.schedule import Event, Finished, Planned, Started

LIVE_SCHEMA: Final = 1
_LARGEST = 64 * 2**20


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LiveGpu(_File):
    index: int
    uuid: str
    name: str


class LiveJob(_File):
    """One job. `since`: when it came into this state; `out`, `log`: relative to the run's folder."""

    key: str
    environment: str
    state: Literal["waiting", "running", "ended"] = "waiting"
    since: str
    out: str
    log: str
    after: list[str] = Field(default_factory=list)
    gpus: list[LiveGpu] = Field(default_factory=list)
    held: str = ""  # who holds what it waits for
    status: str = ""
    reason: str = ""


class LiveProcess(_File):
    host: str
    boot: str
    pid: int
    start: str


class LiveRun(_File):
    """`exit_code` None: it is at work, or its orchestrator was killed."""

    schema_version: Literal[1] = LIVE_SCHEMA
    run_id: str
    user: str
    process: LiveProcess
    started: str
    ended: str | None = None
    exit_code: int | None = None
    jobs: dict[str, LiveJob] = Field(default_factory=dict)


class Live:
    """Writes a run's live.json at each event, from one thread. A disk that is full costs the view, never the run."""

    def __init__(self, run: RunLayout, *, clock: Callable[[], datetime] = now) -> None:
        self._run = run
        self._clock = clock
        self._file = LiveRun(
            run_id=run.root.name,
            user=user_name(),
            process=LiveProcess(**asdict(this_process())),
            started=self._now(),
        )

    def begin(self, jobs: Sequence[Planned] = ()) -> None:
        """The run is at work, and will do these; more than once where more become known. Of the same key: anew."""
        added = {planned.key: self._waiting(planned) for planned in jobs}
        self._write(jobs={**self._file.jobs, **added})

    def event(self, event: Event) -> None:
        """What the schedule tells."""
        key, changes = event.planned.key, dict[str, object]()
        if isinstance(event, Started):
            gpus = [LiveGpu(index=gpu.index, uuid=gpu.uuid, name=gpu.name) for gpu in event.gpus]
            changes = {"state": "running", "gpus": gpus, "held": ""}
        elif isinstance(event, Finished):
            outcome = event.outcome
            changes = {"state": "ended", "held": "", "status": outcome.status.value, "reason": outcome.reason[:500]}
        else:
            changes = {"state": "waiting", "held": event.held.text[:1000]}
        job = self._file.jobs.get(key) or self._waiting(event.planned)
        self._write(jobs={**self._file.jobs, key: job.model_copy(update={**changes, "since": self._now()})})

    def end(self, exit_code: int) -> None:
        """The run has ended as it should, whatever came of it."""
        self._write(ended=self._now(), exit_code=int(exit_code))

    def _waiting(self, planned: Planned) -> LiveJob:
        root, job = self._run.root, planned.job
        return LiveJob(
            key=job.key,
            environment=job.environment,
            since=self._now(),
            out=os.path.relpath(job.out, root) if job.mounts else "",
            log=os.path.relpath(self._run.job_log(job.key), root),
            after=list(planned.after),
        )

    def _now(self) -> str:
        return self._clock().isoformat(timespec="seconds")

    def _write(self, **changes: object) -> None:
        self._file = self._file.model_copy(update=changes)
        with suppress(OSError):
            replace_file(self._run.live, self._file.model_dump_json().encode() + b"\n")


def read_live(run: RunLayout) -> LiveRun | None:
    """None where there is none, as in runs of earlier versions. Raises LockstepError where it cannot be used."""
    try:
        if not stat.S_ISREG(run.live.lstat().st_mode):
            raise LockstepError(f"{run.live} is not a file: remove it")
        with run.live.open("rb") as file:
            return LiveRun.model_validate_json(file.read(_LARGEST))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockstepError(f"{run.live}: {error.strerror}; what the run does cannot be told") from None
    except ValidationError:
        raise LockstepError(
            f"{run.live} is not what this Lockstep writes; the run's own files say what became of it: "
            f"python run_matrix.py report {run.root.name}"
        ) from None


def process_of(live: LiveRun) -> Process:
    """Its orchestrator."""
    return Process(**live.process.model_dump())


def is_alive(live: LiveRun) -> bool:
    """Whether its orchestrator is at work, as far as this machine can tell: not where it ran on another one."""
    return live.exit_code is None and process_of(live).life is Life.ALIVE
