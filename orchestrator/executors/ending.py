"""From the evidence that a job leaves to its Outcome. Pure but for two small files that it reads."""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from orchestrator.executors.lines import Lines, printable
from orchestrator.executors.protocol import Job, Needs, Outcome, Status
from orchestrator.job import Failure
from orchestrator.layout import slug

ERROR_FILE = "error.json"
EVENTS_FILE = "events.jsonl"
_READ_LIMIT = 2**20
_NOT_STARTED = (126, 127)  # as shells and a container's init say it
_FROM_OUTSIDE = (128 + signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGHUP, 128 + signal.SIGINT)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What is known of an end: exit code (128 + n: signal n), the kernel's verdict, and whether we caused it."""

    exit_code: int
    oom_killed: bool = False
    cut: Literal["", "stop", "timeout"] = ""


def forget_error(job: Job) -> None:
    """Remove the error file of an earlier attempt, so that it cannot explain this one."""
    (job.out / ERROR_FILE).unlink(missing_ok=True)


def judge(ended: Ended, *, job: Job, needs: Needs, lines: Lines) -> Outcome:
    """Classify by engine state, then by the runner's own error file, then by exit code; never by words in a log.

    `ok` only says that the runner reached its end: what counts are the result files, which the host checks.
    """
    status, reason, words = _verdict(ended, job, needs, lines)
    conditions: dict[str, object] = {"exit_code": ended.exit_code, "gpu_ids": list(needs.gpus)}
    if status is Status.OK:
        return Outcome(status=status, conditions=conditions)
    where = f"logs/{slug(job.key)}.log:{lines.number_of(words)}"
    return Outcome(status=status, reason=printable(reason), where=where, conditions=conditions)


def _verdict(ended: Ended, job: Job, needs: Needs, lines: Lines) -> tuple[Status, str, str]:
    """Status, one line of reason, and words by which its line in the log is found."""
    if ended.exit_code == 0:
        return Status.OK, "", ""
    if ended.cut == "stop":
        return Status.SKIPPED, "interrupted", ""
    if ended.cut == "timeout":
        return Status.TIMEOUT, f"not finished after {needs.timeout_seconds:g} s; {_last_sign(job.out, lines)}", ""
    if ended.oom_killed:
        limit = f" more than its {needs.memory_gb:g} GB of" if needs.memory_gb else ""
        return Status.OOM, f"killed by the kernel for want of{limit} memory; {_last_sign(job.out, lines)}", ""
    text = read_small(job.out / ERROR_FILE)
    if text is not None:
        return _reported(text)
    if ended.exit_code in _NOT_STARTED:
        return Status.INFRA, f"the runner could not be started: {lines.last or f'exit {ended.exit_code}'}", ""
    if ended.exit_code in _FROM_OUTSIDE:
        return Status.INFRA, f"killed from outside ({_name(ended.exit_code)}); {_last_sign(job.out, lines)}", ""
    said = f": {lines.last}" if lines.last else ", and it printed nothing"
    return Status.FAILED, f"runner died: exit {_name(ended.exit_code)}{said}", ""


def _reported(text: str) -> tuple[Status, str, str]:
    try:
        failure = Failure.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        return Status.FAILED, f"its {ERROR_FILE} cannot be read: {'.'.join(map(str, first['loc']))} {first['msg']}", ""
    place = ", ".join(part for part in (failure.phase, failure.sample and f"sample {failure.sample}") if part)
    message = " ".join(failure.message.split())
    short = message if len(message) <= 300 else message[:299] + "…"
    status = {"oom": Status.OOM, "interrupted": Status.INFRA}.get(failure.kind, Status.FAILED)
    return status, f"{failure.type}: {short} (in {place}, {failure.where})", failure.type


def _name(exit_code: int) -> str:
    try:
        return f"{exit_code} {signal.Signals(exit_code - 128).name}" if exit_code > 128 else str(exit_code)
    except ValueError:
        return str(exit_code)


def _last_sign(out: Path, lines: Lines) -> str:
    """Where it was: the last event (phase, stage, sample), else the last line printed."""
    for line in reversed((read_small(out / EVENTS_FILE, tail=True) or "").splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("phase"):
            where = [str(event[k]) for k in ("phase", "stage") if event.get(k)]
            where += [f"sample {event['sample']}"] if event.get("sample") else []
            return "last seen in " + ", ".join(where)
    return f"its last line: {lines.last}" if lines.last else "it printed nothing"


def read_small(path: Path, *, tail: bool = False) -> str | None:
    """At most 1 MiB of a file that a job wrote; None where there is none. No link of a job is followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return None
        if tail:
            file.seek(max(0, facts.st_size - _READ_LIMIT))
        return file.read(_READ_LIMIT).decode("utf-8", "replace")
