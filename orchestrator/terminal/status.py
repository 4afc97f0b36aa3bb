"""Runs at work and their logs on the terminal. What jobs wrote is shown, never obeyed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.runs.watching import JobView, RunView
from orchestrator.terminal.views import clock_text
from orchestrator.terminal.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST = 4  # jobs that wait, and that one by one would fill the screen
_STILL_SECONDS = 60  # without a sign of life for so long is worth a word


def print_runs(runs: Sequence[RunView], *, whole: bool, console: Console | None = None) -> None:
    """A head line a run, then a line a job; of those that have ended or wait, numbers alone unless `whole`."""
    from rich.table import Table
    from rich.text import Text

    from orchestrator.terminal.style import STYLES, make_console, safe

    console = console or make_console()
    for run in runs:
        console.print(safe(head(run), STYLES["failed"] if run.state == "died" else "bold"), soft_wrap=True)
        waiting = [job for job in run.jobs if job.state == "waiting"]
        shown = run.jobs if whole else [*(j for j in run.jobs if j.state == "running"), *waiting[:_LONGEST]]
        table = Table.grid(padding=(0, 2, 0, 0))
        for job in shown:
            table.add_row("", *(safe(text) for text in job_texts(job, at_work=run.state != "died")))
        if shown:
            console.print(table, soft_wrap=True)
        if foot := _foot(run, len(waiting) - _LONGEST if not whole else 0):
            console.print(Text("  ").append_text(safe(foot, "dim")), soft_wrap=True)
        for line in _go_on(run):
            console.print(Text("  ").append_text(safe(line, "bold")), soft_wrap=True)


def head(run: RunView) -> str:
    """`run 20261121-0200  at work for 12m (pid 4711 of alice on node3)`."""
    who = f"(pid {run.pid} of {run.user} on {run.host})"
    if run.state == "at work":
        return f"run {run.run}  at work for {clock_text(run.seconds)} {who}"
    if run.state == "ended":
        return f"run {run.run}  has ended, exit code {run.exit_code}"
    if run.state == "died":
        return f"run {run.run}  did not end (killed, or it broke off) {who}"
    return f"run {run.run}  on {run.host}, which cannot be looked at from here; what it said last:"


def _go_on(run: RunView) -> list[str]:
    """What to type after a run that did not end."""
    lines = [f"go on: {run.hint}"] if run.hint else []
    if run.state == "died" and any(job.state == "running" for job in run.jobs):
        lines.append(f"its container may still be at work: resume attaches, cancel stops it: {run.cancel}")
    return lines


def job_texts(job: JobView, *, at_work: bool) -> tuple[str, str, str, str, str]:
    """Slot, job, what it does, for how long, and what is worth knowing beside it."""
    slot = ",".join(job.gpus) or ("cpu" if job.state == "running" else "")
    for_long = f"for {clock_text(job.seconds)}"
    if job.state == "running":
        silence = job.event_seconds or 0
        beside = f"last event {clock_text(silence)} ago" if job.event_seconds is not None else ""
        beside = f"no sign of life for {clock_text(silence)}" if silence >= _STILL_SECONDS and at_work else beside
        return (
            slot,
            job.key,
            _progress(job),
            for_long if at_work else "when the run broke off",
            beside if at_work else "",
        )
    if job.state == "waiting":
        return slot, job.key, f"waits {job.waits_for}".replace("waits held", "waits: held"), for_long, ""
    return slot, job.key, job.status, "", job.reason


def _progress(job: JobView) -> str:
    """`infer ChartQA 7/10, sample 412`, `load`."""
    benchmark, _, kind = job.stage.rpartition("/")
    count = f" {job.done}/{job.total}" if job.done is not None and job.total is not None else ""
    what = (
        f"{job.phase if job.phase in ('infer', 'evaluate', 'index') else kind} {benchmark}{count}" if benchmark else ""
    )
    what = what or job.phase or "starting"
    return f"{what}, sample {job.sample}" if job.sample else what


def _foot(run: RunView, more_waiting: int) -> str:
    parts = [f"{more_waiting} more wait"] if more_waiting > 0 else []
    if run.ended:
        statuses = ", ".join(f"{count} {status}" for status, count in run.ended.items())
        parts.append(f"{sum(run.ended.values())} of {len(run.jobs)} jobs have ended: {statuses}")
    return " · ".join(parts)


def print_log_line(line: str) -> None:
    """As it is, safe to show; at once, so that a pipe sees it too."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(visible(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()
