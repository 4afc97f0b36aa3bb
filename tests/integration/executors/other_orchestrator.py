"""Another orchestrator than the test's own: a process that runs one job, says what it logs, and can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.executors.container_engine import connect
from orchestrator.executors.protocol import Needs, Stop
from orchestrator.executors.venv import VenvExecutor
from orchestrator.layout import PROJECT as ROOT
from tests.integration.executors.conftest import PROJECT, Bench, container_bench, venv_store


@contextlib.contextmanager
def orchestrating(bench: Bench, image: tuple[str, str], *arguments: str, **asked: object) -> Iterator[Any]:
    """The process, at work on `bench.job(*arguments)`; what it writes comes line by line. Killed at the end.

    `dies` "before start": it kills itself when the container is made and not started. `secrets` are the job's.
    """
    engine = bench.engine
    assert engine is not None
    where = {"kind": engine.facts.kind, "address": engine.address, "image": image}
    with _process({**where, "folder": str(bench.folder), "arguments": arguments, **asked}) as process:
        yield process


@contextlib.contextmanager
def orchestrating_venvs(bench: Bench, uv: str, store: Path, *arguments: str, **asked: object) -> Iterator[Any]:
    """The same with the venv executor."""
    where = {"kind": "venv", "uv": uv, "store": str(store)}
    with _process({**where, "folder": str(bench.folder), "arguments": arguments, **asked}) as process:
        yield process


@contextlib.contextmanager
def _process(asked: dict[str, object]) -> Iterator[Any]:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__, json.dumps(asked)],
        cwd=ROOT,
        env={**os.environ, "LOCKSTEP_TEST_PROJECT": PROJECT, "TMPDIR": tempfile.gettempdir()},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_when(process: Any, said: str) -> None:
    """-9, as soon as it says this; raises AssertionError where it ends before."""
    assert any(line.strip() == said for line in process.stdout), f"it never said {said}"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def main(asked: dict[str, Any]) -> None:
    folder = Path(asked["folder"])
    bench = _venv_bench(asked, folder) if asked["kind"] == "venv" else _container_bench(asked, folder)
    job = bench.job(*asked["arguments"], secrets=asked.get("secrets") or {})
    outcome = bench.executor.run(job, needs=Needs(), stop=Stop(), log=lambda line: print(line, flush=True))
    print(outcome.status.value, flush=True)


def _container_bench(asked: dict[str, Any], folder: Path) -> Bench:
    variable = "CONTAINER_HOST" if asked["kind"] == "podman" else "DOCKER_HOST"
    engine = connect(asked["kind"], {variable: asked["address"]})
    if asked.get("dies") == "before start":
        engine.api.start = lambda container: os.kill(os.getpid(), signal.SIGKILL)
    return container_bench(engine, tuple(asked["image"]), folder)


def _venv_bench(asked: dict[str, Any], folder: Path) -> Bench:
    store = venv_store(Path(asked["store"]), asked["uv"])
    return Bench(executor=VenvExecutor(store=store, runner=folder, command=(), grace=1), folder=folder)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
