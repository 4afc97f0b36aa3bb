"""A job that is a plain process ends with whoever started it, also where that one was killed with -9 (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal

VARIABLE = "LOCKSTEP_PARENT"
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> bool:
    """Ask for SIGTERM when the parent dies, where LOCKSTEP_PARENT holds its process id; the variable is taken away.

    False where that process is not the parent (any more): it died before it could be asked for, so nobody waits for
    this job. The kernel counts the *thread* that started this process as its parent: it has to live as long.
    """
    expected = os.environ.pop(VARIABLE, None)
    if expected is None:
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
    return expected == str(os.getppid())
