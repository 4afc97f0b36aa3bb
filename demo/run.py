"""`make demo`: builds what the demo needs, then runs the one command that a researcher types.

Further arguments are that command's own: `python demo/run.py --plan`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from orchestrator.executors import engine_answers  # noqa: E402
from orchestrator.settings import settings  # noqa: E402

if __name__ == "__main__":
    matrix = [sys.executable, str(PROJECT / "run_matrix.py")]
    registry = ["--registry", "demo/registry.yaml"]
    if engine_answers(settings()):
        built = subprocess.run([*matrix, "images", *registry], check=False)
        if built.returncode:
            sys.exit(built.returncode)
    os.execv(sys.executable, [*matrix, *registry, "--models", "all", "--limit", "10", *sys.argv[1:]])
