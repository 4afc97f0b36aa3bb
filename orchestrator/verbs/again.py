"""`repro` and `shell`: one recorded cell, or a shell where its model ran."""

from __future__ import annotations

import argparse
import os
import shlex

from orchestrator.again import Again, equal_answers, prepare
from orchestrator.errors import EnvironmentUnavailable, Exit, Unavailable
from orchestrator.executors.container_config import UNPRIVILEGED
from orchestrator.executors.protocol import Executor, Job, Needs, Status, Stop
from orchestrator.jobs import write_job
from orchestrator.runs import find_run
from orchestrator.settings import project_path, settings
from orchestrator.verbs.reading import find_record


def repro(arguments: argparse.Namespace) -> int:
    """Print what starts the cell's jobs, run them by image id, and compare with the record."""
    run = find_run(project_path(arguments.output_root), arguments.run)
    record = find_record(run, arguments.model, arguments.benchmark, arguments.environment)
    again = prepare(run, record, settings())
    executor = _executor(again)
    for planned in again.jobs:
        write_job(planned)
        print(_shown(executor, planned.job, _needs(again)))
    if arguments.print_only:
        return int(Exit.OK)
    for planned in again.jobs:
        outcome = executor.run(planned.job, needs=_needs(again), stop=Stop(), log=lambda line: None)
        if outcome.status is not Status.OK:
            print(f"{outcome.status.value}: {outcome.reason}")
            return int(Exit.FAILED)
    infer = next(stage for stage in record.stages if stage.kind == "infer")
    same, both = equal_answers(run.root / infer.path / "predictions.jsonl", again.place.infer / "predictions.jsonl")
    print(f"{same} of {both} answers are equal to the recorded ones; files in {again.place.infer.parent}")
    return int(Exit.OK if same == both else Exit.FAILED)


def shell(arguments: argparse.Namespace) -> int:
    """A shell in the model's container with the same mounts and the same limits."""
    run = find_run(project_path(arguments.output_root), arguments.run)
    record = find_record(run, arguments.model, None, arguments.environment)
    again = prepare(run, record, settings(), name="shell")
    executor = _executor(again)
    write_job(again.jobs[0])
    words = _argv(executor, again.jobs[0].job, _needs(again), shell=True)
    print(
        f"in this shell the job is: /opt/venv/bin/python -m lockstep_runner {shlex.join(again.jobs[0].job.arguments)}"
    )
    os.execvp(words[0], words)


def _needs(again: Again) -> Needs:
    settings_ = again.session.registry.run
    return Needs(
        gpus=tuple(gpu.uuid for gpu in again.session.gpus[: again.jobs[0].gpus]),
        shm_gb=settings_.shm_gb,
        tmp_gb=settings_.tmp_gb,
        memory_gb=settings_.memory_gb,
    )


def _executor(again: Again) -> Executor:
    """The executor that the run used, bound to the recorded image ids."""
    from orchestrator.backing import open_executor

    executor = open_executor(
        again.session.request.executor,
        again.session.registry,
        again.session.layout,
        unsandboxed=True,
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
            "this run used venvs: there is no container to repeat; python run_matrix.py --executor docker …"
        )
    from orchestrator.executors.command import docker_argv

    program = os.environ.get("DOCKER") or executor.name
    return docker_argv(executor.configuration(job, needs), program=program, shell=shell)
