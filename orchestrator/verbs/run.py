"""`run` and `plan`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys

from orchestrator.errors import Exit, Unavailable, worst
from orchestrator.plan import Plan
from orchestrator.session import Request, Session, open_session
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
        print(json.dumps(plan_json(session, made), indent=1))
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

    environ = settings()
    session = open_session(request_of(arguments), environ)
    try:
        return int(run_matrix(session, as_json=arguments.json))
    except BrokenPipeError:
        raise
    except OSError as error:  # the disk is full, or gone: the records that are there are whole
        what = f"{session.request.outputs}: {error.strerror or error}; finished cells are kept"
        raise Unavailable(f"{what}: mend it, then python run_matrix.py report, or the same command again") from error


def plan_json(session: Session, made: Plan) -> dict[str, object]:
    """The plan as plain data."""
    from orchestrator.planview import view

    shown = view(session, made)
    return {
        "limit": made.limit.count,
        "limit_mode": made.limit.mode,
        "exit_code": int(worst([Exit.OK, *made.codes()])),
        "cells": [
            {
                "model": c.cell.model,
                "environment": c.cell.environment,
                "benchmark": c.cell.benchmark,
                "status": "run" if c.runs else "skipped",
                "why": c.skipped or c.why,
                "units": len(c.chosen.groups) if c.chosen else None,
                "generations": len(c.chosen.ids) if c.chosen else None,
            }
            for c in made.cells
        ],
        "notes": list(shown.notes),
        "fetch_bytes": shown.fetch_bytes,
        "free_bytes": shown.free_bytes,
    }
