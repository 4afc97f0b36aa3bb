"""The demo's benchmarks are what its script draws: byte by byte, in an environment that has Pillow."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.layout import PROJECT
from tests.integration.runner_jobs import python_of


@pytest.mark.venv
def test_drawing_again_gives_the_same_files(tmp_path: Path) -> None:
    python = python_of("tf-4.37")
    subprocess.run([str(python), "-m", "demo.make_benchmarks", "--output", str(tmp_path)], cwd=PROJECT, check=True)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (PROJECT / "demo" / "data").iterdir()}
