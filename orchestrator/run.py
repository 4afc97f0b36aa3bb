"""One run from start to exit code: prepare, index, plan, schedule, gather, report. Nothing is lost on any way out."""

from __future__ import annotations

import dataclasses
import os
import platform
from contextlib import ExitStack

from orchestrator import __version__
from orchestrator.backing import open_executor
from orchestrator.display import open_display
from orchestrator.errors import EnvironmentUnavailable, Exit, Unavailable, worst
from orchestrator.executors.protocol import Executor, Outcome, Status
from orchestrator.gather import Gathering
from orchestrator.going import Going, exit_of
from orchestrator.indexing import build_indexes
from orchestrator.jobs import CellStages, cell_jobs
from orchestrator.plan import Plan, PlannedCell
from orchestrator.record_files import write_run
from orchestrator.records import RunFile
from orchestrator.report import point_latest
from orchestrator.runlog import Redaction, now, run_log
from orchestrator.runs import new_run
from orchestrator.session import Session
from orchestrator.settings import secret_values
from orchestrator.signals import stopped_by_signals


def run_matrix(session: Session, *, as_json: bool) -> Exit:
    """Run a session's matrix and leave `outputs/<run-id>/`. Raises Unavailable before anything starts."""
    first = session.plan(session.known_indexes())
    with ExitStack() as stack:
        display = stack.enter_context(open_display(as_json=as_json))
        display.plan(session, first)
        if not first.running:
            display.nothing(session, first)
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
        session = dataclasses.replace(session, isolated=executor.isolated)
        _prepare(executor, session, first)
        run = new_run(session.request.outputs, now())
        redact = Redaction(secret_values(session.environ))
        signals = stack.enter_context(stopped_by_signals())
        log = stack.enter_context(run_log(run.run_log, redact=redact))
        going = Going(
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
        stack.callback(display.end)  # before the log is closed
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


def _go(going: Going, first: Plan) -> Exit:
    session, run = going.session, going.run
    file = _run_file(going, first)
    write_run(run, file)
    point_latest(run)
    going.display.say(f"run {run.root.name} in {run.root}")
    broken = build_indexes(going, first)
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
            # replaced when the cell ends: a run that is killed shows what it did not get to
            gathering.unstarted(planned, Status.INFRA, "not finished: the run ended before this cell did")
    _run_cells(going, gathering, ready)
    write_run(run, file.model_copy(update={"finished": now().isoformat(timespec="seconds")}))
    return _finish(going, plan)


def _run_cells(going: Going, gathering: Gathering, ready: list[PlannedCell]) -> None:
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


def _gather(going: Going, gathering: Gathering, place: CellStages, ended: dict[str, Outcome]) -> None:
    finished = now().isoformat(timespec="seconds")
    record = gathering.finished(place, ended, started=going.started.get(place.infer_job, finished), finished=finished)
    going.records.append(record)
    going.display.cell(record)


def _run_file(going: Going, plan: Plan) -> RunFile:
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


def _finish(going: Going, plan: Plan) -> Exit:
    from orchestrator import report

    session, signals = going.session, going.signals
    paths = report.build(going.run)
    session.hashes.save()
    codes = [*(c.code for c in plan.cells), *(exit_of(r.status) for r in going.records)]
    if all(r.status is Status.SKIPPED for r in going.records):
        codes.append(Exit.NOTHING)
    if signals.exit is not None:
        codes.append(signals.exit)
    code = worst(codes)
    again = session.request.command if code not in (Exit.OK, Exit.NOTHING) else ""
    going.display.final(going.run, going.records, paths, code=code, go_on=again)
    return code
