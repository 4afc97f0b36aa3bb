"""`run` and `plan`."""

from __future__ import annotations

import argparse
import shlex
import sys

from orchestrator.errors import Unavailable, worst
from orchestrator.session import Request, open_session
from orchestrator.settings import project_path, settings


def _flat(values: list[str] | None) -> tuple[str, ...]:
    return tuple(term for value in values or [] for term in value.split(",") if term)


def request_of(arguments: argparse.Namespace) -> Request:
    """The command line as a Request; relative paths are taken from the project's root."""
    return Request(
        registry=project_path(arguments.registry),
        outputs=project_path(arguments.output_root),
        models=_flat(arguments.models),
        benchmarks=_flat(arguments.benchmarks),
        environments=_flat(arguments.environments),
        suite=arguments.suite,
        limit=arguments.limit,
        limit_mode=arguments.limit_mode,
        executor=arguments.executor,
        unsandboxed=arguments.unsandboxed,
        gpus=arguments.gpus,
        jobs=arguments.jobs,
        seed=arguments.seed,
        timeout_seconds=arguments.timeout,
        fail_fast=arguments.fail_fast,
        command=shlex.join(["python", "run_matrix.py", *sys.argv[1:]]),
    )


def plan(arguments: argparse.Namespace) -> int:
    """Print what would run; starts nothing and asks no engine."""
    environ = settings()
    session = open_session(request_of(arguments), environ)
    made = session.plan(session.known_indexes())
    if arguments.json:
        from orchestrator.console import print_json
        from orchestrator.planview import as_json

        print_json(as_json(session, made))
    else:
        from orchestrator.console import print_plan
        from orchestrator.planview import view

        print_plan(view(session, made))
    return int(worst(made.codes()))


def run(arguments: argparse.Namespace) -> int:
    """Run the matrix; `--plan` only prints it."""
    if arguments.plan:
        return plan(arguments)
    from orchestrator.run import run_matrix

    session = open_session(request_of(arguments), settings())
    try:
        return int(run_matrix(session, as_json=arguments.json))
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        print(
            "stopped at once; finished cells are kept: python run_matrix.py report, or the same command",
            file=sys.stderr,
        )
        raise
    except OSError as error:  # the disk is full, or gone: the records that are there are whole
        what = f"{session.request.outputs}: {error.strerror or error}; finished cells are kept"
        raise Unavailable(f"{what}: mend it, then python run_matrix.py report, or the same command again") from error
