"""Why something failed, from the exception itself, as the `Failure` of the job folder."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from lockstep_runner.files import DataError

_MESSAGE_LIMIT = 4000
_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class GenerationError(Exception):
    """A model gave something that is no answer."""


def failure(error: BaseException, *, phase: str, kind: str = "model", sample: str | None = None) -> dict[str, Any]:
    """The `Failure` of an exception; memory and data errors name their own kind whatever the phase."""
    if out_of_memory(error):
        kind = "oom"
    elif isinstance(error, DataError):
        kind = "data"
    message = str(error).strip() or type(error).__name__
    return {
        "kind": kind,
        "type": type(error).__name__,
        "message": message[:_MESSAGE_LIMIT],
        "where": where(error),
        "phase": phase,
        "sample": sample,
    }


def one_line(why: dict[str, Any]) -> str:
    """A failure for the log."""
    message = " ".join(str(why["message"]).split())
    return f"{why['type']}: {message} ({why['where']})"


def where(error: BaseException) -> str:
    """`file:line` of the frame that raised, without the part of the path that only this machine has."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown"
    return f"{_short(frames[-1].filename)}:{frames[-1].lineno}"


def _short(filename: str) -> str:
    for mark in ("site-packages/", "dist-packages/", "transformers_modules/"):
        _, found, rest = filename.rpartition(mark)
        if found:
            return rest
    parts = Path(filename).parts
    return "/".join(parts[parts.index("lockstep_runner") :]) if "lockstep_runner" in parts else "/".join(parts[-2:])


def out_of_memory(error: BaseException) -> bool:
    """GPU or host memory: going on would only fail again, and what failed is the machine's size, not the answer."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _MEMORY_SIGNS)


def device_lost(error: BaseException) -> bool:
    """After such an error every later call on the GPU fails too: samples must not be blamed for it."""
    return isinstance(error, RuntimeError) and ("CUDA error" in str(error) or "CUBLAS_STATUS" in str(error))
