#!/usr/bin/env python3
"""Lockstep's one command: `python run_matrix.py [VERB] …`; `--help` lists the verbs."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

if __name__ == "__main__":
    venv = Path(__file__).resolve().parent / ".venv" / "bin" / "python"
    if Path(sys.prefix) != venv.parent.parent and venv.exists():
        os.execv(venv, [str(venv), *sys.argv])  # the locked packages, whichever Python one calls
    if find_spec("pydantic") is None:
        sys.exit("run_matrix.py: the locked packages are not installed yet: make venv")
    from orchestrator.cli import main

    sys.exit(main(sys.argv[1:]))
