"""Locks: `requirements-locks/<env>.in`, written by hand, becomes `<env>.txt`, complete and with hashes.

`compile_locks` is `make locks`, `check_locks` is `make locks-check`. Format: `orchestrator.locks.lockfile`.
"""

from __future__ import annotations

from orchestrator.locks.compiling import check_command, check_locks, compile_locks, known_locks, sync_commands
from orchestrator.locks.lockfile import Lock

__all__ = ["Lock", "check_command", "check_locks", "compile_locks", "known_locks", "sync_commands"]
