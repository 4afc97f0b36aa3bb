"""Asking this machine's NVIDIA driver; the answers are read by orchestrator.scheduling.gpus."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from orchestrator.errors import Unavailable

_SECONDS = 30


def nvidia_smi(arguments: Sequence[str]) -> str | None:
    """What `nvidia-smi ARGUMENTS` prints; None where there is no such program.

    Raises Unavailable when it fails or hangs: a driver that is there and broken is not the same as none.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"nvidia-smi does not answer ({error}): look at it with: nvidia-smi") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or [f"exit {done.returncode}"]
        if "No devices were found" in said[0]:
            return ""
        raise Unavailable(f"nvidia-smi fails ({said[0]}): look at it with: nvidia-smi")
    return done.stdout
