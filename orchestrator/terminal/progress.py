"""Progress of a job, folded from its events.jsonl. For showing only: cells are judged from their results."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from orchestrator.untrusted import NotPlain, open_plain, parse_json

_CHUNK = 1 << 20  # bytes read at once: a runner that writes without end must not fill our memory


class Tail:
    """New whole lines of a growing file, from its present end on (an earlier job may have written the rest)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def read(self) -> list[dict[str, object]]:
        """The JSON objects of the lines completed since the last call; lines that are none are passed over."""
        try:
            with open_plain(self._path) as file:  # the job may have put a pipe there, on which reading would wait
                file.seek(self._offset)
                content = file.read(_CHUNK)
        except (OSError, NotPlain):
            return []
        self._offset += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        self._rest = self._rest[-_CHUNK:]
        return [value for line in lines if (value := _object(line)) is not None]


def _object(line: bytes) -> dict[str, object] | None:
    try:
        value = parse_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@dataclass
class JobProgress:
    """Where a job is. `benchmarks` maps file-safe names in stage ids to names; `generations` is the whole job's."""

    benchmarks: dict[str, str]
    generations: int | None = None
    phase: str = "start"
    benchmark: str = ""
    done: int = 0
    total: int = 0
    peak_memory_gb: float | None = None
    _begun: list[str] = field(default_factory=list)
    _answered: dict[str, tuple[int, int]] = field(default_factory=dict)  # stage → (first seen, last seen)
    _clock: tuple[float, float] | None = None  # first and last time of an infer event

    def see(self, event: dict[str, object]) -> None:
        """Take in one event."""
        phase, stage = str(event.get("phase", "")), str(event.get("stage") or "")
        self.phase = phase
        memory = event.get("peak_memory_gb")
        self.peak_memory_gb = _number(memory) if isinstance(memory, int | float) else self.peak_memory_gb
        if not stage:
            return
        folder = stage.rsplit("/", 1)[0]
        self.benchmark = self.benchmarks.get(folder, folder)
        if phase in ("infer", "evaluate") and f"{phase} {folder}" not in self._begun:
            self._begun.append(f"{phase} {folder}")
            self.done = 0
        total, done = _count(event.get("total")), _count(event.get("done"))
        self.total = total if total is not None else self.total
        if done is not None:
            self.done = done
        if phase == "infer" and done is not None:
            self._answer(stage, done, _seconds(event.get("time")))

    def _answer(self, stage: str, done: int, at: float | None) -> None:
        self._answered[stage] = (self._answered.get(stage, (done, done))[0], done)
        if at is not None:
            self._clock = (self._clock[0] if self._clock else at, at)

    @property
    def cell(self) -> int:
        """The number of the cell in work, from 1; 0 before the first."""
        scoring = [begun for begun in self._begun if begun.startswith("evaluate ")]
        return len(scoring) if scoring else len(self._begun)

    @property
    def cells(self) -> int:
        return len(self.benchmarks)

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the mean pace of this job's answers; None before there is a pace, or where a clock went back."""
        if self.generations is None or self._clock is None or self.phase != "infer":
            return None
        elapsed = self._clock[1] - self._clock[0]
        made = sum(last - first for first, last in self._answered.values())
        left = self.generations - sum(last for _, last in self._answered.values())
        return elapsed / made * left if made > 0 and elapsed > 0 and left >= 0 else None

    @property
    def text(self) -> str:
        """What it does now: `ChartQA 7/10`, `scoring ChartQA`, `loading`."""
        if self.phase in ("infer", "evaluate", "stage_done") and self.benchmark:
            scoring = any(begun.startswith("evaluate ") for begun in self._begun)
            return f"scoring {self.benchmark}" if scoring else f"{self.benchmark} {self.done}/{self.total}"
        words = {"start": "starting", "import": "importing", "load": "loading", "loaded": "loaded", "free": "freeing"}
        return words.get(self.phase, self.phase)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: float) -> float | None:
    """None for what is no finite number."""
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number of 400 digits
        return None


def _seconds(value: object) -> float | None:
    if isinstance(value, int | float):
        return _number(value)
    try:
        # Python 3.10 does not read a trailing Z.
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
