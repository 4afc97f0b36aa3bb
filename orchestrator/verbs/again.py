"""`repro` and `shell`: one recorded cell, or a shell where its model ran."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import ExitStack

from orchestrator.errors import EnvironmentUnavailable, Exit, Unavailable, worst
from orchestrator.executors.container_config import UNPRIVILEGED
from orchestrator.executors.protocol import Executor, Job, Needs, Status
from orchestrator.planning.jobs import write_job
from orchestrator.runs.again import Again, equal_answers, prepare
from orchestrator.runs.folders import find_run
from orchestrator.runs.going import exit_of
from orchestrator.runs.signals import stopped_by_signals
from orchestrator.scheduling.needs import planned_job
from orchestrator.scheduling.schedule import Schedule
from orchestrator.settings import project_path, settings
from orchestrator.verbs.reading import find_record


def repro(arguments: argparse.Namespace) -> int:
    """Print what starts the cell's jobs, run them by image id, and compare with the record."""
    run = find_run(project_path(arguments.output_root), arguments.run)
    record = find_record(run, arguments.model, arguments.benchmark, arguments.environment)
    again = prepare(run, record, settings())
    with ExitStack() as stack:
        executor = _executor(again, unsandboxed=arguments.unsandboxed)
        stack.callback(executor.close)
        planned = [planned_job(again.session, job, slots=1) for job in again.jobs]
        for job, one in zip(again.jobs, planned, strict=True):
            write_job(job)
            print(_shown(executor, one.job, one.needs), flush=True)
        if arguments.print_only:
            return int(Exit.OK)
        signals = stack.enter_context(stopped_by_signals())
        outcomes = Schedule(executor=executor, log=lambda job: _to_stderr, gpus=again.session.gpus).run(
            planned, signals.stop
        )
    bad = [outcome for outcome in outcomes.values() if outcome.status is not Status.OK]
    for outcome in bad:
        print(f"{outcome.status.value}: {outcome.reason}", file=sys.stderr)
    if bad or signals.exit is not None:
        codes = [exit_of(outcome) for outcome in bad if outcome.status is not Status.SKIPPED]
        return int(worst([*([signals.exit] if signals.exit else []), *(codes or [Exit.FAILED])]))
    infer = next(stage for stage in record.stages if stage.kind == "infer")
    same, both = equal_answers(run.root / infer.path / "predictions.jsonl", again.place.infer / "predictions.jsonl")
    print(f"{same} of {both} answers are equal to the recorded ones; files in {again.place.infer.parent}")
    return int(Exit.OK if same == both else Exit.FAILED)


def shell(arguments: argparse.Namespace) -> int:
    """A shell in the model's container with the same mounts and the same limits."""
    run = find_run(project_path(arguments.output_root), arguments.run)
    record = find_record(run, arguments.model, None, arguments.environment)
    again = prepare(run, record, settings(), name="shell")
    executor = _executor(again, unsandboxed=False)
    write_job(again.jobs[0])
    job = again.jobs[0].job
    words = _argv(executor, job, planned_job(again.session, again.jobs[0], slots=1).needs, shell=True)
    if os.getuid() == 0:
        from orchestrator.executors.ownership import give

        give(job.out, UNPRIVILEGED, UNPRIVILEGED)
    print(f"in this shell the job is: /opt/venv/bin/python -m lockstep_runner {shlex.join(job.arguments)}", flush=True)
    os.execvp(words[0], words)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _executor(again: Again, *, unsandboxed: bool) -> Executor:
    """The executor that the run used, bound to the recorded image ids."""
    from orchestrator.backing import open_executor

    executor = open_executor(
        again.session.request.executor,
        again.session.registry,
        again.session.layout,
        unsandboxed=unsandboxed,
        say=print,
        environ=again.session.environ,
        images=again.images,
    )
    for planned in again.jobs:
        try:
            executor.prepare(planned.job.environment)
        except EnvironmentUnavailable as error:
            raise Unavailable(*error.problems) from None
    return executor


def _shown(executor: Executor, job: Job, needs: Needs) -> str:
    if executor.isolated:
        # a container never runs as root: its one writable folder must belong to whom it runs as
        lend = f"chown -R {UNPRIVILEGED}:{UNPRIVILEGED} {shlex.quote(str(job.out))} && " if os.getuid() == 0 else ""
        return lend + shlex.join(_argv(executor, job, needs, shell=False))
    return f"in the venv of {job.environment}: python -m lockstep_runner {shlex.join(job.arguments)}  # in {job.folder}"


def _argv(executor: Executor, job: Job, needs: Needs, *, shell: bool) -> list[str]:
    from orchestrator.executors.container import ContainerExecutor

    if not isinstance(executor, ContainerExecutor):
        raise Unavailable(
            "this run used venvs, there is no container: python run_matrix.py --executor docker makes one"
        )
    from orchestrator.executors.command import docker_argv

    return docker_argv(executor.configuration(job, needs), program=executor.name, shell=shell)
