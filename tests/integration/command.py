"""The command line from outside: a process of its own, started from another folder than the project's."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.layout import PROJECT

# Values of the developer's own that would change what is tested.
_OWN = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "HF_HUB_CACHE", "LMUData", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON value and nothing else."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines of standard error; a traceback in either stream is never right."""
        assert "Traceback" not in self.err + self.out, self.err + self.out
        return self.err.splitlines()

    @property
    def unusual(self) -> list[str]:
        """Standard error without what every run says."""
        return [line for line in self.lines if not line.startswith(("run 2", "reading "))]

    @property
    def run(self) -> Run:
        """The run that `--json` names."""
        assert self.out, self.err
        return Run(root=PROJECT / Path(self.json["files"]["table"]).parent)


@dataclass(frozen=True, kw_only=True)
class Run:
    """`outputs/<run-id>/` as any program would read it."""

    root: Path

    @property
    def records(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """By (model, environment, benchmark)."""
        found = [json.loads(path.read_bytes()) for path in self.root.glob("records/*/*.json")]
        return {(one["model"], one["environment"], one["benchmark"]): one for one in found}

    @property
    def rows(self) -> list[dict[str, str]]:
        with (self.root / "results.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def lines(self, path: str) -> list[dict[str, Any]]:
        """A JSONL file below the run's folder."""
        return [json.loads(line) for line in (self.root / path).read_text(encoding="utf-8").splitlines()]

    def events(self, job: str, phase: str) -> int:
        """How often a job's runner said that it is in `phase`."""
        path = self.root / job / "events.jsonl"
        return sum(event["phase"] == phase for event in self.lines(str(path))) if path.exists() else 0


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OWN} | {"COLUMNS": "200"} | dict(extra)


def command(*words: str, project: Path = PROJECT) -> list[str]:
    """The argument list of `python run_matrix.py …`."""
    return [sys.executable, str(project / "run_matrix.py"), *words]


def matrix(
    *words: str,
    environ: Mapping[str, str] | None = None,
    project: Path = PROJECT,
    before: Sequence[str] = (),
    cwd: str = "/",
) -> Said:
    """Run to its end; `before` are words that start it, like `unshare -rm`."""
    done = subprocess.run(
        [*before, *command(*words, project=project)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=_environment(environ or {}),
    )
    return Said(code=done.returncode, out=done.stdout, err=done.stderr)


@dataclass(kw_only=True)
class Started:
    """A matrix that is running. `outputs` is its `--output-root`."""

    process: subprocess.Popen[str]
    outputs: Path
    limit: float = field(default_factory=lambda: time.monotonic() + 300)

    @property
    def run(self) -> Run:
        return Run(root=self.outputs / "latest")

    def wait_for(self, job: str, phase: str) -> None:
        """Until a job's runner has said that it is in `phase`. Fails when the matrix ends first."""
        while not self.run.events(job, phase):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < self.limit, f"{job} was never in {phase}"
            time.sleep(0.02)

    def end(self) -> Said:
        out, err = self.process.communicate(timeout=120)
        return Said(code=self.process.returncode, out=out, err=err)


def start(*words: str, outputs: Path, environ: Mapping[str, str] | None = None, project: Path = PROJECT) -> Started:
    """Start a matrix in a session of its own, as cron or systemd would."""
    process = subprocess.Popen(
        command(*words, "--output-root", str(outputs), project=project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=_environment(environ or {}),
        start_new_session=True,
    )
    return Started(process=process, outputs=outputs)


def processes_of(started: Started) -> list[int]:
    """The venv executor's jobs: living processes that work in a folder of its runs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = Path(os.readlink(folder / "cwd")).is_relative_to(started.outputs)
        except OSError:
            continue  # ended meanwhile, or another user's
        found += [int(folder.name)] if inside else []
    return found


def terminate(started: Started) -> None:
    """Whatever a failed test left running."""
    for process in [*processes_of(started), *([started.process.pid] if started.process.poll() is None else [])]:
        os.kill(process, signal.SIGKILL)
    started.process.communicate()


def mounted(folder: Path, options: str) -> list[str]:
    """Words that start a command where `folder` is a file system of its own, for the command alone."""
    words = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        f'mount -t tmpfs {options} none {folder} && exec "$@"',
    ]
    done = subprocess.run([*words, "-", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no mounts of one's own here: {done.stderr.strip()}")
    return [*words, "-"]
