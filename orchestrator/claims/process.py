"""Which process of which machine: told apart from a later one of the same number, or of a machine that restarted."""

from __future__ import annotations

import os
import select
import signal
import socket
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path


class Life(str, Enum):
    """What can be told of a process from here."""

    ALIVE = "alive"
    DEAD = "dead"
    ELSEWHERE = "elsewhere"  # on another machine: nobody here can tell


@dataclass(frozen=True, kw_only=True)
class Process:
    """`start` is in the kernel's clock ticks since its boot `boot`; both are empty where there is no /proc."""

    host: str
    boot: str
    pid: int
    start: str

    @property
    def here(self) -> bool:
        """Whether it was started on this machine since it last started."""
        return self.boot == boot_id() if self.boot else self.host == socket.gethostname()

    @property
    def life(self) -> Life:
        """Never takes another process for this one. One of a user whose processes are hidden counts by its number."""
        if not self.here:
            return Life.DEAD if self.host == socket.gethostname() else Life.ELSEWHERE
        if self.host != socket.gethostname():
            return Life.ELSEWHERE  # a container of this machine has process numbers of its own
        start = _start(self.pid)
        if start:
            return Life.ALIVE if start == self.start else Life.DEAD
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return Life.DEAD
        except PermissionError:
            return Life.ALIVE
        return Life.ALIVE if not self.start else Life.DEAD


def this_process() -> Process:
    pid = os.getpid()
    return Process(host=socket.gethostname(), boot=boot_id(), pid=pid, start=_start(pid))


@lru_cache(maxsize=1)
def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start(pid: int) -> str:
    """Field 22 of its stat, empty where nothing can be read; a zombie has ended, though its parent has not looked yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


def terminate(process: Process) -> None:
    """Ask it to end (SIGTERM) and wait until it has; nobody who took its number since is touched.

    Raises ProcessLookupError where it has ended already, PermissionError where it is another user's.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError) as error:
        if isinstance(error, ProcessLookupError):
            raise
        descriptor = -1  # a kernel before 5.3, which must do without
    try:
        if process.life is not Life.ALIVE:
            raise ProcessLookupError(process.pid)
        if descriptor < 0:
            os.kill(process.pid, signal.SIGTERM)
        else:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        while process.life is Life.ALIVE:
            select.select([descriptor] if descriptor >= 0 else [], [], [], 0.2)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
