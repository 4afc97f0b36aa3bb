"""Progress while jobs run: a live board on a terminal, plain lines elsewhere; both are fed by the jobs' events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.executors.protocol import Status
from orchestrator.layout import slug
from orchestrator.records.record import Record
from orchestrator.reports.table import number
from orchestrator.reports.words import notes
from orchestrator.runs.log import now
from orchestrator.terminal.progress import JobProgress, Tail
from orchestrator.terminal.style import STYLES, safe, sign
from orchestrator.terminal.views import clock_text
from orchestrator.terminal.visible import one_line

_MODEL, _ENVIRONMENT, _WORK = 1, 2, 3  # places in a board's line
_GAP = 2
_TOLD = {"loaded": "loaded", "stage_done": "done"}


@dataclass
class _Job:
    slot: str
    model: str
    environment: str
    tail: Tail
    progress: JobProgress


class Board:
    """Shows running jobs. All methods may be called from any thread; without `with` nothing moves by itself.

    `log` receives every plain line (the run's log); `clock` gives the time shown before plain lines.
    """

    def __init__(
        self,
        console: Console,
        *,
        cells: int,
        log: Callable[[str], object] = lambda line: None,
        clock: Callable[[], datetime] = now,
        interval: float = 0.5,
    ) -> None:
        self._console = console
        self._cells = cells
        self._log = log
        self._clock = clock
        self._interval = interval
        self._jobs: dict[str, _Job] = {}
        self._ended: list[Status] = []
        self._began = clock()
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._live = _live(console) if console.is_terminal else None
        self._ticker = threading.Thread(target=self._tick_on, name="board", daemon=True)

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._ticker.join()
        self.tick()
        if self._live:
            self._live.stop()

    def started(
        self,
        key: str,
        *,
        slot: str,
        model: str,
        environment: str,
        out: Path,
        benchmarks: Sequence[str],
        generations: int | None = None,
    ) -> None:
        """A job starts: `out` is the folder it sees as work/out. To be called before it can write its first event."""
        names = {slug(name): name for name in benchmarks}
        job = _Job(
            slot=slot,
            model=model,
            environment=environment,
            tail=Tail(out / "events.jsonl"),
            progress=JobProgress(benchmarks=names, generations=generations),
        )
        with self._lock:
            self._jobs[key] = job
        answers = "" if generations is None else f", {generations:,} generations"
        cells = f"{len(names)} cell{'' if len(names) == 1 else 's'}"
        self.say(f"start   {slot}  {model}  {environment}: {cells}{answers}", always=False)

    def ended(self, key: str) -> None:
        """A job has ended, well or not; what became of its cells is told by `cell`."""
        self.tick()
        with self._lock:
            self._jobs.pop(key, None)
        self.refresh()

    def cell(self, record: Record) -> None:
        """A cell has its record: good news stay on the board, bad news are printed."""
        name = f"{record.model} × {record.benchmark}  {record.environment}"
        with self._lock:
            self._ended.append(record.status)
        metric = record.primary
        if record.status is Status.OK:
            score = f"{metric.id} {number(metric.value, metric.max)} (n={metric.n})" if metric else ""
            self.say(f"ok      {name}  {'  '.join([score, *notes(record)])}", always=False)
        elif record.status is Status.SKIPPED:
            self.say(f"skipped {name}  {record.reason}", always=False)
        else:
            word = record.status.value.upper()
            self.say(f"{word:<7} {name}  {record.reason}  {record.where}", style=STYLES[record.status.value])
        self.refresh()

    def say(self, line: str, *, style: str = "", always: bool = True) -> None:
        """A plain line into the log, and onto the screen: on a live board only where `always`."""
        line = one_line(line)
        self._log(line)
        if self._live is None:
            stamp = self._clock().isoformat(timespec="seconds")
            self._console.print(safe(f"{stamp} {line}"), soft_wrap=True)
        elif always:
            self._console.print(safe(line, style), soft_wrap=True)

    def tick(self) -> None:
        """Read what the jobs have written since the last time, and draw."""
        with self._lock:
            jobs = list(self._jobs.values())
            told = [self._told(job, event) for job in jobs for event in self._seen(job)]
        for line in told:
            if line:
                self.say(line, always=False)
        self.refresh()

    def refresh(self) -> None:
        if self._live and self._live.is_started:
            self._live.update(self.render(), refresh=True)

    def render(self) -> Group:
        """The board as it is now: a line a job, and one for the whole run."""
        with self._lock:
            lines = [_line(job) for job in self._jobs.values()]
            counts = {status: self._ended.count(status) for status in Status if status in self._ended}
            done = len(self._ended)
        foot = Text(f"{done}/{self._cells} cells · {clock_text((self._clock() - self._began).total_seconds())}")
        for status, count in counts.items():
            foot.append(" · ")
            foot.append(f"{sign(self._console, status.value)} {count} {status.value}", style=STYLES[status.value])
        return Group(*_aligned(lines, self._console.width), foot)

    def _seen(self, job: _Job) -> list[dict[str, object]]:
        events = job.tail.read()
        for event in events:
            job.progress.see(event)
        return events

    def _told(self, job: _Job, event: dict[str, object]) -> str:
        """The plain line of an event that is worth one."""
        word = _TOLD.get(str(event.get("phase")))
        what = str(event.get("stage") or "")
        said = str(event.get("message") or "")
        return f"{word:<7} {job.model}  {job.environment}  {what}  {said}".rstrip() if word else ""

    def _tick_on(self) -> None:
        while not self._closed.wait(self._interval):
            self.tick()


def _live(console: Console) -> Live:
    # Standard output may be a pipe that somebody reads: it stays where it is.
    return Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)


def _line(job: _Job) -> tuple[Text, ...]:
    progress = job.progress
    eta = progress.eta_seconds
    return (
        safe(job.slot, "cyan"),
        safe(job.model, "bold"),
        safe(job.environment),
        safe(progress.text),
        safe(f"cell {progress.cell}/{progress.cells}", "dim"),
        safe("" if eta is None else f"eta {clock_text(eta)}", "dim"),
    )


def _aligned(lines: Sequence[tuple[Text, ...]], width: int) -> list[Text]:
    """Columns under each other. On a narrow terminal the names give way; slot and numbers stay."""
    if not lines:
        return []
    wide = [max(line[place].cell_len for line in lines) for place in range(len(lines[0]))]
    for place, least in ((_MODEL, 10), (_ENVIRONMENT, 7), (_WORK, 12)):
        excess = sum(wide) + _GAP * (len(wide) - 1) - width
        wide[place] = max(min(wide[place], least), wide[place] - max(excess, 0))
    rows = []
    for line in lines:
        for text, size in zip(line, wide, strict=True):
            text.truncate(size, overflow="ellipsis", pad=True)
        rows.append(Text(" " * _GAP).join(line))
        rows[-1].rstrip()
    return rows
