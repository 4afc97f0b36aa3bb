"""Is a job still getting on? Told from what its events file gains, and from this machine's monotonic clock alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.executors.lines import printable
from orchestrator.executors.protocol import Needs
from orchestrator.untrusted import NotPlain, open_plain

EVENTS_FILE = "events.jsonl"
_LOOK_SECONDS = 1.0  # at most between two looks, where something limits the job
_MOST = 2**20  # bytes of news that are read at once: a job that writes more loses what is older, not this process
_WORD = 200  # characters of a stage or sample that are shown
Event = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One that was passed: which, and where the job was by its events; empty where it wrote none."""

    which: str
    place: str = ""


class Pulse:
    """Follows `events.jsonl` in `out` and holds it against the limits of `needs`.

    Made before a job starts, it counts what the file gains from then on. With `adopted` the job is at work already:
    the events since its latest `start` are its own, and `elapsed` is how many seconds it has worked. How long its stage
    and its silence have lasted before is not known; they count from now.
    """

    def __init__(
        self,
        out: Path,
        needs: Needs,
        *,
        adopted: bool = False,
        elapsed: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = out / EVENTS_FILE
        self._needs = needs
        self._clock = clock
        self._offset = 0
        self._begun: dict[str, float] = {}  # stage id → when its first event was seen
        self._open = ""  # the stage at work
        self._last: Event = {}
        self._elapsed = elapsed
        if not adopted:
            self._news()  # to the end of the last complete line: a torn one is cut off by the next runner
        self._beat = clock()
        self._started = self._beat - elapsed

    def wait(self, bell: threading.Event) -> Limit | None:
        """Until `bell` rings (None), or a limit is passed."""
        self._beat = self._clock()
        self._started = self._beat - self._elapsed
        while not bell.wait(self._patience()):
            if limit := self.look():
                return limit
        return None

    def look(self) -> Limit | None:
        """Read the news; the limit that is passed by now, if one is."""
        self.catch_up()
        now = self._clock()
        needs = self._needs
        if needs.timeout_seconds is not None and now - self._started >= needs.timeout_seconds:
            return Limit(which=f"not finished after {needs.timeout_seconds:g} s", place=self.place("last seen in"))
        allowed = needs.stage_seconds.get(self._open)
        if allowed is not None and now - self._begun[self._open] >= allowed:
            return Limit(which=f"{self._open} not finished after {allowed:g} s", place=self.place("last seen in"))
        if needs.stall_seconds is not None and now - self._beat >= needs.stall_seconds:
            return Limit(which=f"no event for {needs.stall_seconds:g} s", place=self.place("hung in"))
        return None

    @property
    def stage(self) -> str:
        """Id of the stage of the last event; empty where it names none."""
        return _word(self._last, "stage")

    def place(self, verb: str) -> str:
        """`last seen in infer, POPE/infer, sample 412`; empty where no event was seen."""
        phase, stage, sample = (_word(self._last, name) for name in ("phase", "stage", "sample"))
        if not phase:
            return ""
        return f"{verb} " + ", ".join(filter(None, (phase, stage, sample and f"sample {sample}")))

    def catch_up(self) -> None:
        """Take in what the file has gained."""
        for line in self._news():
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and event.get("phase"):
                self._take(event)

    def _take(self, event: Event) -> None:
        self._last = event
        self._beat = self._clock()
        phase, stage = str(event["phase"]), _word(event, "stage")
        if phase == "start":  # whatever came before was another attempt's
            self._begun.clear()
        if phase in ("start", "stage_done", "free", "done"):
            self._open = ""
        elif stage:
            self._open = stage
            self._begun.setdefault(stage, self._beat)

    def _patience(self) -> float | None:
        """Seconds until the next look; None where nothing limits the job."""
        needs = self._needs
        watched = bool(needs.stage_seconds) or needs.stall_seconds is not None
        if needs.timeout_seconds is None:
            return _LOOK_SECONDS if watched else None
        left = max(0.0, needs.timeout_seconds - (self._clock() - self._started))
        return min(left, _LOOK_SECONDS) if watched else left

    def _news(self) -> list[bytes]:
        """Complete lines past the offset, at most the last 1 MiB of them. A file that shrank is read from its start."""
        try:
            with open_plain(self._path) as file:
                size = file.seek(0, 2)
                if size < self._offset:
                    self._offset = 0
                start = file.seek(max(self._offset, size - _MOST))
                chunk = file.read(_MOST)
        except (OSError, NotPlain):
            return []
        complete = chunk[: chunk.rfind(b"\n") + 1]
        if complete:
            self._offset = start + len(complete)
        return complete.splitlines()


def _word(event: Event, name: str) -> str:
    value = event.get(name)
    return printable(" ".join(str(value)[:_WORD].split())) if value else ""
