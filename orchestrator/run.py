"""One run from start to exit code: prepare, index, plan, schedule, gather, report. Nothing is lost on any way out."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from orchestrator import __version__
from orchestrator.backing import open_executor
from orchestrator.display import Display, open_display
from orchestrator.errors import EnvironmentUnavailable, Exit, Unavailable, worst
from orchestrator.executors.protocol import Executor, Job, Log, Needs, Outcome, Status
from orchestrator.gather import Gathering
from orchestrator.jobs import CellStages, PlannedJob, cell_jobs, index_job, write_job
from orchestrator.layout import RunLayout, slug
from orchestrator.plan import Plan, PlannedCell
from orchestrator.records import Record, RunFile, write_run
from orchestrator.report import point_latest
from orchestrator.runlog import LineLog, Redaction, now, run_log
from orchestrator.runs import new_run
from orchestrator.schedule import Event, Finished, Planned, Schedule, Started, after_ok
from orchestrator.session import Session
from orchestrator.settings import secret_values
from orchestrator.signals import Signals, stopped_by_signals

_EXIT_OF = {
    Status.OK: Exit.OK,
    Status.SKIPPED: Exit.OK,
    Status.INFRA: Exit.UNAVAILABLE,
}


@dataclass(kw_only=True)
class _Going:
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

    def job_log(self, job: Job) -> Log:
        return self.logs.enter_context(LineLog(self.run.job_log(job.key), redact=self.redact))

    def planned(self, job: PlannedJob) -> Planned:
        settings = self.session.registry.run
        environment = self.session.registry.environments[job.job.environment]
        minutes = settings.timeout_minutes
        timeout = self.session.request.timeout_seconds or (minutes * 60 if minutes else None)
        return Planned(
            job=job.job,
            gpus=job.gpus,
            vram_gb=job.vram_gb,
            min_driver=environment.min_driver,
            gpu_arch=tuple(environment.gpu_arch),
            after=job.after,
            needs=Needs(
                shm_gb=settings.shm_gb, tmp_gb=settings.tmp_gb, memory_gb=settings.memory_gb, timeout_seconds=timeout
            ),
        )

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
            slots=self.session.request.jobs or max(1, (os.cpu_count() or 2) // 2),
            decide=after_ok,
            on_event=on_event,
            fail_fast=self.session.request.fail_fast,
        )
        return schedule.run([self.planned(job) for job in jobs], self.signals.stop)


def run_matrix(session: Session, *, as_json: bool) -> Exit:
    """Run a session's matrix and leave `outputs/<run-id>/`. Raises Unavailable before anything starts."""
    first = session.plan(session.known_indexes())
    with ExitStack() as stack:
        display = stack.enter_context(open_display(as_json=as_json))
        display.plan(session, first)
        if not first.running:
            return worst(first.codes())
        executor = open_executor(
            session.request.executor,
            session.registry,
            session.layout,
            unsandboxed=session.request.unsandboxed,
            say=display.say,
            environ=session.environ,
        )
        stack.callback(executor.close)
        _prepare(executor, session, first)
        run = new_run(session.request.outputs, now())
        redact = Redaction(secret_values(session.environ))
        signals = stack.enter_context(stopped_by_signals())
        log = stack.enter_context(run_log(run.run_log, redact=redact))
        going = _Going(
            session=session,
            executor=executor,
            run=run,
            signals=signals,
            display=display,
            log=log,
            redact=redact,
            logs=stack.enter_context(ExitStack()),
        )
        display.begin(len(first.cells), log)
        return _go(going, first)


def _prepare(executor: Executor, session: Session, plan: Plan) -> None:
    """Every environment that the plan needs, or all that is missing at once."""
    problems: list[str] = []
    for environment in _environments(session, plan):
        try:
            executor.prepare(environment)
        except EnvironmentUnavailable as error:
            problems += error.problems
    if problems:
        raise Unavailable(*dict.fromkeys(problems))


def _environments(session: Session, plan: Plan) -> list[str]:
    names = dict.fromkeys(c.cell.environment for c in plan.running)
    others = (session.registry.benchmarks[c.cell.benchmark].evaluate_in for c in plan.running)
    return list(names | dict.fromkeys(other for other in others if other))


def _go(going: _Going, first: Plan) -> Exit:
    session, run = going.session, going.run
    file = _run_file(going, first)
    write_run(run, file)
    point_latest(run)
    going.display.say(f"run {run.root.name} in {run.root}")
    broken = _index(going, first)
    plan = session.plan(session.known_indexes())
    gathering = Gathering(
        session=session,
        run=run,
        isolated=going.executor.isolated,
        described={name: going.executor.describe(name) for name in _environments(session, plan)},
    )
    ready: list[PlannedCell] = []
    for planned in plan.cells:
        if planned.skipped:
            going.records.append(gathering.unstarted(planned, Status.SKIPPED, planned.skipped))
        elif planned.chosen is None:
            going.records.append(gathering.unstarted(planned, *broken[planned.cell.benchmark]))
        else:
            ready.append(planned)
    _run_cells(going, gathering, ready)
    write_run(run, file.model_copy(update={"finished": now().isoformat(timespec="seconds")}))
    return _finish(going, plan)


def _index(going: _Going, plan: Plan) -> dict[str, tuple[Status, str]]:
    """Build the indexes that are missing; returns why, for each benchmark that still has none."""
    session = going.session
    wanted: dict[str, list[str]] = {}
    for planned in plan.to_index:
        cell = planned.cell
        if cell.benchmark not in {b for names in wanted.values() for b in names}:
            wanted.setdefault(cell.environment, []).append(cell.benchmark)
    data = dict(session.data)
    jobs = [index_job(session.registry, going.run, env, names, data) for env, names in wanted.items()]
    if not jobs:
        return {}
    going.display.say(f"reading {sum(map(len, wanted.values()))} benchmark(s) for the first time")
    outcomes = going.schedule(jobs, lambda key, outcome: None)
    broken: dict[str, tuple[Status, str]] = {}
    for job, names in zip(jobs, wanted.values(), strict=True):
        session.indexes.keep(session.registry, data, job.job.out, names)
        for name in names:
            broken[name] = _index_failure(job, name, outcomes[job.job.key])
    return broken


def _index_failure(job: PlannedJob, benchmark: str, outcome: Outcome) -> tuple[Status, str]:
    """Why an index was not made: the runner's own words where it left a result, else the job's outcome."""
    path = job.job.out / slug(benchmark) / "index" / "result.json"
    if path.is_file():
        failure = json.loads(path.read_bytes()).get("failure") or {}
        if failure:
            return Status.FAILED, str(failure.get("message"))
    return (outcome.status if outcome.status is not Status.OK else Status.FAILED), outcome.reason or "no index was made"


def _run_cells(going: _Going, gathering: Gathering, ready: list[PlannedCell]) -> None:
    session = going.session
    jobs, places = cell_jobs(
        session.registry, going.run, ready, dict(session.models), dict(session.data), seed=session.request.seed
    )
    outcomes: dict[str, Outcome] = {}

    def ended(key: str, outcome: Outcome) -> None:
        outcomes[key] = outcome
        for place in places:
            if place.evaluate_job == key:
                _gather(going, gathering, place, outcomes)

    if jobs:
        going.schedule(jobs, ended)


def _gather(going: _Going, gathering: Gathering, place: CellStages, ended: dict[str, Outcome]) -> None:
    finished = now().isoformat(timespec="seconds")
    record = gathering.finished(place, ended, started=going.started.get(place.infer_job, finished), finished=finished)
    going.records.append(record)
    going.display.cell(record)


def _run_file(going: _Going, plan: Plan) -> RunFile:
    session, executor = going.session, going.executor
    cells = session.selection.cells
    return RunFile(
        run_id=going.run.root.name,
        command=session.request.command,
        started=now().isoformat(timespec="seconds"),
        lockstep=__version__,
        executor=executor.name,
        limit=session.limit.count,
        limit_mode=session.limit.mode,
        seed=session.request.seed,
        models=list(dict.fromkeys(c.model for c in cells)),
        environments=list(dict.fromkeys(c.environment for c in cells)),
        benchmarks=list(dict.fromkeys(c.benchmark for c in cells)),
        images={name: dict(executor.describe(name)) for name in _environments(session, plan)},  # type: ignore[arg-type]
        host={
            "machine": platform.machine(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "gpus": [f"{gpu.name} (driver {gpu.driver})" for gpu in session.gpus],
        },
        registry=session.registry.resolved(),
        notes=list(session.selection.notes),
    )


def _finish(going: _Going, plan: Plan) -> Exit:
    from orchestrator import report

    session, signals = going.session, going.signals
    paths = report.build(going.run)
    session.hashes.save()
    codes = [*(c.code for c in plan.cells), *(_EXIT_OF.get(r.status, Exit.FAILED) for r in going.records)]
    if all(r.status is Status.SKIPPED for r in going.records):
        codes.append(Exit.NOTHING)
    if signals.exit is not None:
        codes.append(signals.exit)
    code = worst(codes)
    again = f"python run_matrix.py {_words(session)}" if code not in (Exit.OK, Exit.NOTHING) else ""
    going.display.final(going.run, going.records, paths, code=code, go_on=again)
    return code


def _words(session: Session) -> str:
    """The same command again."""
    return session.request.command.removeprefix("python run_matrix.py ")
