"""What `make demo` calls: images where an engine is, venvs where none is, then the one command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orchestrator.layout import PROJECT


def demo(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The demo's own script, with the plan alone."""
    words = [sys.executable, str(PROJECT / "demo" / "run.py"), "--plan"]
    return subprocess.run(words, cwd="/", env={**os.environ, **environ}, capture_output=True, text=True, check=False)


@pytest.mark.engine
def test_with_an_engine_the_images_come_first(fresh_images: None) -> None:
    done = demo({})
    assert done.returncode == 0, done.stderr
    assert "lockstep/tf-4.33:" in done.stdout
    assert "tiny-llava  tf-4.37" in done.stdout


def test_without_an_engine_nothing_is_built() -> None:
    done = demo({"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert done.returncode == 0, done.stderr
    assert "lockstep/" not in done.stdout
    assert "tiny-llava  tf-4.37" in done.stdout


def test_what_it_will_download_is_said_first() -> None:
    # `make test` is itself a make: what it hands down is not a person's
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    words = ["make", "--no-print-directory", "-n", "demo"]
    steps = subprocess.run(words, cwd=PROJECT, env=environ, capture_output=True, text=True, check=True).stdout
    said = subprocess.run(["sh", "demo/announce.sh"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert steps.splitlines()[0] == "sh demo/announce.sh"
    assert "GB" in said
    assert "minutes" in said
