"""work/out/events.jsonl: progress and heartbeat, one JSON object a line."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import TracebackType

from lockstep_runner import machine
from lockstep_runner.files import Hold, LineFile

PHASES = ("start", "import", "load", "loaded", "infer", "free", "evaluate", "index", "stage_done", "done", "fetch")


class Events:
    """Appends; `seq` goes on where an earlier job of the same folder ended, every job begins with `start`."""

    def __init__(self, path: Path, hold: Hold) -> None:
        self._lines = LineFile(path, hold)
        self.loads = 0

    def emit(
        self,
        phase: str,
        *,
        stage: str | None = None,
        sample: str | None = None,
        done: int | None = None,
        total: int | None = None,
        message: str | None = None,
    ) -> None:
        """Write one event; `time` is UTC in ISO 8601, memory is in GB of 10^9 bytes."""
        assert phase in PHASES, phase
        self.loads += phase == "loaded"
        now = datetime.datetime.now(datetime.timezone.utc)
        self._lines.append(
            {
                "seq": self._lines.count,
                "time": now.isoformat(timespec="milliseconds"),
                "phase": phase,
                "stage": stage,
                "sample": sample,
                "done": done,
                "total": total,
                "peak_memory_gb": machine.peak_memory_gb(),
                "message": message,
            }
        )

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.__exit__(kind, error, trace)
