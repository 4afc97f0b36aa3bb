"""Whether the GPUs that the job was given are those that it sees: engines drop a request for GPUs without a word.

The host names them in LOCKSTEP_GPUS; without that variable there is nothing to compare. Asked are the driver's own
nvidia-smi, where it is there, before anything is loaded, and torch, once it is imported, for what CUDA lets a model use.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from lockstep_runner import machine
from lockstep_runner.failures import DeviceError

VARIABLE = "LOCKSTEP_GPUS"
_SECONDS = 60
_UUID = re.compile(r"UUID: ((?:GPU|MIG)-[^)\s]+)")
_REMEDY = "python run_matrix.py doctor shows the machine's; can this engine give GPUs to containers?"


def given() -> list[str]:
    """UUIDs, as nvidia-smi writes them; of a job without GPUs none."""
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


def check_listed() -> None:
    """Raises DeviceError where nvidia-smi does not list a GPU that was given, or does not work."""
    wanted, program = given(), shutil.which("nvidia-smi")
    if not wanted or program is None:
        return
    try:
        done = subprocess.run(
            [program, "-L"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"nvidia-smi -L does not answer in here: {error}") from error
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())[:300]
        raise DeviceError(f"nvidia-smi -L fails in here: {said or f'exit {done.returncode}'}")
    _compare(wanted, _UUID.findall(done.stdout), "nvidia-smi")


def check_usable() -> None:
    """Raises DeviceError where torch, if it is imported, sees other GPUs than were given, or another number of them."""
    wanted, torch = given(), machine.torch_if_imported()
    if not wanted or torch is None:
        return
    count = int(torch.cuda.device_count()) if torch.cuda.is_available() else 0
    if count != len(wanted):
        raise DeviceError(f"the job was given {_names(wanted)}, and torch sees {count} GPUs: {_REMEDY}")
    seen = [getattr(torch.cuda.get_device_properties(place), "uuid", None) for place in range(count)]
    if None not in seen and not any(name.startswith("MIG-") for name in wanted):  # torch 2.3 does not tell them
        _compare(wanted, [f"GPU-{str(uuid).replace('GPU-', '')}" for uuid in seen], "torch")


def _compare(wanted: list[str], seen: list[str], who: str) -> None:
    if missing := [name for name in wanted if name not in seen]:
        raise DeviceError(
            f"the job was given {_names(missing)}, and {who} in here sees {_names(seen) or 'no GPU'}: {_REMEDY}"
        )


def _names(uuids: list[str]) -> str:
    return ", ".join(uuids)
