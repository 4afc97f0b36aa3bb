"""What can be seen of runs from outside, from their files alone: which are at work, how far each job is, its log."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from orchestrator.claims.process import Life
from orchestrator.errors import LockstepError, UsageError, did_you_mean
from orchestrator.layout import PROJECT, RunLayout
from orchestrator.runs.live import LiveJob, LiveRun, is_alive, process_of, read_live
from orchestrator.untrusted import NotPlain, open_plain

_TAIL = 64 * 2**10  # bytes of events that are looked at: far more than the last one
FOLLOW_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job now. `seconds` in this state, `event_seconds` since its last sign of life; texts as they were written."""

    key: str
    environment: str
    state: Literal["waiting", "running", "ended"]
    seconds: float
    gpus: tuple[str, ...] = ()
    phase: str = ""
    stage: str = ""
    sample: str = ""
    done: int | None = None
    total: int | None = None
    event_seconds: float | None = None
    waits_for: str = ""
    status: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run now. `died`: its orchestrator is gone; `elsewhere`: on another machine, as it last said.

    `hint` and `cancel`: what to type to go on, and to stop what is still at work.
    """

    run: str
    state: Literal["at work", "ended", "died", "elsewhere"]
    user: str
    host: str
    pid: int
    seconds: float
    jobs: tuple[JobView, ...]
    ended: dict[str, int]
    exit_code: int | None = None
    hint: str = ""
    cancel: str = ""


def command(verb: str, run: RunLayout) -> str:
    """`python run_matrix.py resume RUN`, with the output root where it is not the project's own."""
    outputs = run.root.parent
    where = "" if outputs == PROJECT / "outputs" else f" --output-root {outputs}"
    return f"python run_matrix.py {verb} {run.root.name}{where}"


def runs_in(outputs: Path) -> tuple[list[RunView], list[str]]:
    """All runs below `outputs` that are at work or did not end as they should, the oldest first; and what is unreadable."""
    views: list[RunView] = []
    problems: list[str] = []
    for path in sorted(outputs.glob("*/live.json")):
        if path.parent.is_symlink():
            continue
        run = RunLayout(root=path.parent)
        try:
            live = read_live(run)
        except LockstepError as error:
            problems += error.problems
            continue
        if live is not None and live.exit_code is None:
            views.append(view_run(run, live))
    return views, problems


def view_run(run: RunLayout, live: LiveRun, now: Callable[[], float] = time.time) -> RunView:
    """Everything that its live.json and its jobs' events tell."""
    state: Literal["at work", "ended", "died", "elsewhere"] = "ended"
    hint = ""
    if live.exit_code is None:
        life = process_of(live).life
        state = {Life.ALIVE: "at work", Life.DEAD: "died", Life.ELSEWHERE: "elsewhere"}[life]  # type: ignore[assignment]
        hint = command("resume", run) if state == "died" else ""
    return RunView(
        run=run.root.name,
        state=state,
        user=live.user,
        host=live.process.host,
        pid=live.process.pid,
        seconds=_since(live.started, now),
        jobs=tuple(_view_job(run, job, live, now) for job in live.jobs.values()),
        ended=dict(Counter(job.status for job in live.jobs.values() if job.state == "ended")),
        exit_code=live.exit_code,
        hint=hint,
        cancel=command("cancel", run) if state == "died" else "",
    )


def _view_job(run: RunLayout, job: LiveJob, live: LiveRun, now: Callable[[], float]) -> JobView:
    event, age = _last_event(run, job, now) if job.state == "running" else ({}, None)
    before = [key for key in job.after if key in live.jobs and live.jobs[key].state != "ended"]
    done, total = (v if isinstance(v, int) else None for v in (event.get("done"), event.get("total")))
    return JobView(
        key=job.key,
        environment=job.environment,
        state=job.state,
        seconds=_since(job.since, now),
        gpus=tuple(f"gpu{gpu.index}" for gpu in job.gpus) if job.state != "waiting" else (),
        phase=str(event.get("phase") or ""),
        stage=str(event.get("stage") or ""),
        sample=str(event.get("sample") or ""),
        done=done,
        total=total,
        event_seconds=age,
        waits_for=(job.held or (f"after {', '.join(before)}" if before else "")) if job.state == "waiting" else "",
        status=job.status,
        reason=job.reason,
    )


def _last_event(run: RunLayout, job: LiveJob, now: Callable[[], float]) -> tuple[dict[str, object], float | None]:
    """The job's last whole event and its age in seconds; the job writes them, so they are read as anybody's file."""
    try:
        with open_plain(run.root / job.out / "events.jsonl", below=run.root) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read(_TAIL).split(b"\n")[:-1]
            age = max(0.0, now() - os.fstat(file.fileno()).st_mtime)
    except (OSError, NotPlain, ValueError):
        return {}, None
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            return event, age
    return {}, None


def _since(text: str, now: Callable[[], float]) -> float:
    try:
        return max(0.0, now() - datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0.0


@dataclass(frozen=True, kw_only=True)
class JobLog:
    """The log of one job of a run: redacted when it was written."""

    key: str
    path: Path


def logs_of(run: RunLayout, model: str, environment: str | None) -> list[JobLog]:
    """The logs of a model's jobs, whether they are there already or not. Raises UsageError for what did not run."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted((run.root / "jobs").glob("*/work/job.json")):
        try:
            file = json.loads(path.read_bytes())
            found[str(file["key"])] = (str((file.get("model") or {}).get("name") or ""), str(file["environment"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # cut: the run says so itself
    models = dict.fromkeys(name for name, _ in found.values() if name)
    if model not in models:
        ran = f"; it has {', '.join(models)}" if models else ""
        raise UsageError(f"run {run.root.name} has no job of a model {model!r}{did_you_mean(model, models) or ran}")
    keys = [key for key, (name, where) in found.items() if name == model and environment in (None, where)]
    if not keys:
        environments = dict.fromkeys(where for name, where in found.values() if name == model)
        raise UsageError(f"{model} has no job in {environment!r}; it has in {', '.join(environments)}")
    return [JobLog(key=key, path=run.job_log(key)) for key in keys]


def over(run: RunLayout, logs: Iterable[JobLog]) -> bool:
    """Whether nothing more will come: these jobs have ended, or their run is not at work here."""
    live = read_live(run)
    if live is None or not is_alive(live):
        return True
    return all(live.jobs[log.key].state == "ended" for log in logs if log.key in live.jobs)


def follow(logs: Sequence[JobLog], last: int | None, ended: Callable[[], bool]) -> Iterator[tuple[JobLog, str]]:
    """Lines (of what is there, the last ones where a number is given), then those that come, until `ended`."""
    places = {log.key: 0 for log in logs}
    first = True
    while True:
        last_round = ended()
        for log in logs:
            lines = _new_lines(log, places)
            for line in lines[max(0, len(lines) - last) :] if first and last is not None else lines:
                yield log, line
        if last_round:
            return
        first = False
        time.sleep(FOLLOW_SECONDS)


def _new_lines(log: JobLog, places: dict[str, int]) -> list[str]:
    """Whole lines past the place that was read, which moves on. None where there is no log yet."""
    try:
        with log.path.open("rb") as file:
            file.seek(places[log.key])
            content = file.read()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    places[log.key] += len(whole)
    return whole.decode("utf-8", "replace").split("\n")[:-1]
