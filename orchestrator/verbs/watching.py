"""`status`, `logs`, `cancel`: seeing into a run from another terminal, and stopping it."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from orchestrator.claims.process import Life, terminate
from orchestrator.errors import Exit, Unavailable
from orchestrator.layout import RunLayout
from orchestrator.runs.folders import find_run
from orchestrator.runs.live import LiveRun, process_of, read_live
from orchestrator.runs.watching import RunView, command, follow, logs_of, over, runs_in, view_run
from orchestrator.settings import project_path
from orchestrator.terminal import console

_DIED_SHOWN = 3  # of the runs that were killed, the newest: nobody has to resume them


def status(arguments: argparse.Namespace) -> int:
    """What runs are at work, or were killed; of one run everything."""
    outputs = project_path(arguments.output_root)
    views: list[RunView] = []
    problems: list[str] = []
    if arguments.run is None:
        views, problems = runs_in(outputs)
    else:
        run = find_run(outputs, arguments.run)
        live = _live(run)
        views = [view_run(run, live)]
    if arguments.json:
        console.print_json({"runs": [asdict(view) for view in views], "problems": problems})
        return int(Exit.OK)
    from orchestrator.terminal.status import print_runs

    older = [view for view in views if view.state == "died"][:-_DIED_SHOWN]
    print_runs([view for view in views if view not in older], whole=arguments.run is not None)
    if older:
        console.print_line(f"{len(older)} earlier runs were killed too, from {older[0].run} to {older[-1].run}")
    for problem in problems:
        console.print_line(problem, stderr=True)
    if not views:
        console.print_line(f"no run is at work in {outputs}")
    return int(Exit.OK)


def logs(arguments: argparse.Namespace) -> int:
    """What a model's jobs printed; with -f what they print, until they have ended."""
    from orchestrator.terminal.status import print_log_line

    run = find_run(project_path(arguments.output_root), arguments.run)
    found = logs_of(run, arguments.model, arguments.environment)
    shown = ""
    try:
        for log, line in follow(
            found, arguments.lines, (lambda: over(run, found)) if arguments.follow else lambda: True
        ):
            if log.key != shown and len(found) > 1:
                print_log_line(f"==> {log.key} <==")
            shown = log.key
            print_log_line(line)
    except KeyboardInterrupt:
        return int(Exit.OK)
    if not shown:
        console.print_line(f"nothing is printed yet by {', '.join(log.key for log in found)}", stderr=True)
    return int(Exit.OK)


def cancel(arguments: argparse.Namespace) -> int:
    """Stop a run: its orchestrator, or the containers that a dead one left at work."""
    run = find_run(project_path(arguments.output_root), arguments.run)
    live = _live(run)
    if live.exit_code is not None:
        console.print_line(f"run {run.root.name} has ended already, exit code {live.exit_code}: nothing is at work")
        return int(Exit.OK)
    life = process_of(live).life
    if life is Life.ELSEWHERE:
        raise Unavailable(
            f"run {run.root.name} is at work on {live.process.host}: there, type {command('cancel', run)}"
        )
    if life is Life.ALIVE:
        _stop(run, live)
    live = _live(run)
    if live.exit_code is None:
        _remove_what_is_left(run)
    console.print_line(f"run {run.root.name} has stopped; go on: {command('resume', run)}")
    return int(Exit.OK)


def _live(run: RunLayout) -> LiveRun:
    live = read_live(run)
    if live is None:
        raise Unavailable(
            f"run {run.root.name} says nothing of what it does (no {run.live.name}): {command('report', run)} shows its results"
        )
    return live


def _stop(run: RunLayout, live: LiveRun) -> None:
    process = process_of(live)
    console.print_line(f"stopping run {run.root.name} (pid {process.pid}); what is finished is kept", stderr=True)
    try:
        terminate(process)
    except ProcessLookupError:
        return  # it has ended this moment
    except PermissionError:
        raise Unavailable(
            f"run {run.root.name} is {live.user}'s (pid {process.pid}): only they or root can stop it"
        ) from None


def _remove_what_is_left(run: RunLayout) -> None:
    """Containers by their labels. An orchestrator without an engine leaves none."""
    from orchestrator.records.files import read_run
    from orchestrator.runs.leftovers import open_engine, stop_run

    file = read_run(run)
    if file is None or file.executor not in ("docker", "podman"):
        return
    for name in stop_run(open_engine(file.executor), run.root.name):
        console.print_line(f"{name}: it was still at work; stopped and removed")
