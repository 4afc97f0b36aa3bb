"""One run while it goes: what its steps share, and how jobs are put on the schedule."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from orchestrator.display import Display
from orchestrator.errors import Exit
from orchestrator.executors.protocol import Executor, Job, Log, Needs, Outcome, Status
from orchestrator.jobs import PlannedJob, write_job
from orchestrator.layout import RunLayout
from orchestrator.records import Record
from orchestrator.runlog import LineLog, Redaction, now
from orchestrator.schedule import Event, Finished, Outcomes, Planned, Schedule, Started, after_ok, is_failure
from orchestrator.session import Session
from orchestrator.signals import Signals


@dataclass(kw_only=True)
class Going:
    """One run while it goes: what the steps below share."""

    session: Session
    executor: Executor
    run: RunLayout
    signals: Signals
    display: Display
    log: Callable[[str], object]
    redact: Redaction
    logs: ExitStack
    records: list[Record] = field(default_factory=list)
    started: dict[str, str] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """Jobs without a GPU at once: `--jobs`, else one for two cores, on small machines one for each."""
        cpus = _cpus()
        return self.session.request.jobs or (cpus // 2 if cpus > 4 else cpus)

    def job_log(self, job: Job) -> Log:
        return self.logs.enter_context(LineLog(self.run.job_log(job.key), redact=self.redact))

    def schedule(self, jobs: Sequence[PlannedJob], ended: Callable[[str, Outcome], None]) -> dict[str, Outcome]:
        """Run jobs; `ended` is called as each one ends."""
        by_key = {job.job.key: job for job in jobs}
        for job in jobs:
            write_job(job)

        def on_event(event: Event) -> None:
            key = event.planned.key
            self.display.event(event, by_key[key])
            if isinstance(event, Started):
                self.started[key] = now().isoformat(timespec="seconds")
            elif isinstance(event, Finished):
                reason = f": {event.outcome.reason}" if event.outcome.reason else ""
                self.log(f"ended {key}: {event.outcome.status.value}{reason}")
                ended(key, event.outcome)

        schedule = Schedule(
            executor=self.executor,
            log=self.job_log,
            gpus=self.session.gpus,
            slots=self.slots,
            decide=_where_answers_are,
            on_event=on_event,
            fail_fast=self.session.request.fail_fast,
            failed=lambda outcome: is_failure(outcome) or any(r.failed for r in self.records),
        )
        return schedule.run([planned_job(self.session, job, slots=self.slots) for job in jobs], self.signals.stop)


def planned_job(session: Session, job: PlannedJob, *, slots: int) -> Planned:
    """A job with what it takes of the machine; `slots` jobs share the cores."""
    settings = session.registry.run
    environment = session.registry.environments[job.job.environment]
    minutes = settings.timeout_minutes
    return Planned(
        job=job.job,
        gpus=job.gpus,
        vram_gb=job.vram_gb,
        min_driver=environment.min_driver,
        gpu_arch=tuple(environment.gpu_arch),
        after=job.after,
        needs=Needs(
            shm_gb=settings.shm_gb,
            tmp_gb=settings.tmp_gb,
            memory_gb=settings.memory_gb,
            timeout_seconds=session.request.timeout_seconds or (minutes * 60 if minutes else None),
            threads=None if job.gpus else max(1, _cpus() // slots),
        ),
    )


def _where_answers_are(planned: Planned, ended: Outcomes) -> Job | str:
    """Run a job after others that are ok; also where one is not, but left finished stages that this one reads."""
    decided = after_ok(planned, ended)
    inputs = [mount.source for mount in planned.job.mounts if mount.target.startswith("work/in/")]
    if isinstance(decided, str) and any((source / "result.json").is_file() for source in inputs):
        for source in inputs:
            source.mkdir(parents=True, exist_ok=True)
        return planned.job
    return decided


def exit_of(status: Status) -> Exit:
    """What a cell or job that ended so means for the exit code."""
    return {Status.OK: Exit.OK, Status.SKIPPED: Exit.OK, Status.INFRA: Exit.UNAVAILABLE}.get(status, Exit.FAILED)


def _cpus() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
