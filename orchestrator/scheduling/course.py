"""A job over all its starts: what each cell got from them, for its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from orchestrator.executors.protocol import Outcome, Status
from orchestrator.records.record import Attempt
from orchestrator.registry.schema import Fallback
from orchestrator.scheduling.unfinished import JobFolder, Turn

FINAL = "final"  # in an infra outcome's conditions: its cause cannot pass by itself, the reason says what to type


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a job: which cells had something left to do in it, and which of them are done now.

    `changed` is what fallbacks had changed of the model by then; it concerns the cells in `asked`, which asked it something.
    """

    at: str
    cells: tuple[str, ...]
    asked: frozenset[str]
    changed: Mapping[str, JsonValue]
    outcome: Outcome
    done: frozenset[str]

    def changed_for(self, cell: str) -> Mapping[str, JsonValue]:
        return self.changed if cell in self.asked else {}


@dataclass(kw_only=True)
class Course:
    """A job over all its starts. Touched by one thread at a time: the one in which the job runs, later the run's own."""

    folder: JobFolder
    fallbacks: list[Fallback]  # not tried yet
    changed: dict[str, JsonValue] = field(default_factory=dict)  # what fallbacks have changed so far
    notes: list[str] = field(default_factory=list)  # why there was no further start
    culprits: dict[str, Outcome] = field(default_factory=dict)  # cells left out, with the outcome that they caused
    starts: list[Start] = field(default_factory=list)
    infra: int = 0  # starts that ended so
    spent: float = 0.0  # seconds of waits and of starts after an infra end
    ran: float = 0.0  # seconds of starts that count for the job's own timeout

    @property
    def open(self) -> tuple[str, ...]:
        """The cells that a further start would find something to do for."""
        return tuple(c for c in self.folder.cells if c not in self.culprits and self.folder.turn(c) is Turn.OPEN)

    @property
    def last(self) -> Start:
        return self.starts[-1]

    def asking(self) -> frozenset[str]:
        return frozenset(cell for cell in self.open if self.folder.asks(cell))

    def add(self, at: str, cells: tuple[str, ...], asked: frozenset[str], outcome: Outcome) -> None:
        """Note a start that has ended; `cells` and `asked` are `open` and `asking` as they were before it."""
        done = frozenset(cell for cell in cells if self.folder.turn(cell) is not Turn.OPEN)
        self.infra += outcome.status is Status.INFRA
        changed = dict(self.changed)
        self.starts.append(Start(at=at, cells=cells, asked=asked, changed=changed, outcome=outcome, done=done))

    def outcome(self, cell: str) -> Outcome | None:
        """That of the start in which the cell ended, with the conditions of that start; None where there was none."""
        if not self.starts:
            return None
        if cell in self.culprits:
            return self.culprits[cell]
        start = next((s for s in self.starts if cell in s.done), self.last)
        conditions = {**start.outcome.conditions, **start.changed_for(cell)}
        if self.folder.turn(cell) is Turn.OK:  # whatever became of the job afterwards
            return Outcome(status=Status.OK, conditions=conditions)
        reason = self.reason(start.outcome) if start is self.last else start.outcome.reason
        return replace(start.outcome, reason=reason, conditions=conditions)

    def reason(self, outcome: Outcome) -> str:
        """Of the last start, with why there was no further one."""
        notes = self.notes if outcome.status in (Status.INFRA, Status.OOM) else []
        return "; ".join([outcome.reason, *notes])

    def attempts(self, cell: str) -> list[Attempt]:
        """The starts of the cell that did not end well for it, or ended under changed conditions."""
        found = []
        for start in self.starts:
            well = start.outcome.status is Status.OK or cell in start.done
            changed = start.changed_for(cell)
            if cell in start.cells and (changed or not well):
                found.append(
                    Attempt(
                        started=start.at,
                        status=Status.OK if well else start.outcome.status,
                        reason="" if well else start.outcome.reason,
                        conditions={**_plain(start.outcome.conditions), **changed},
                    )
                )
        return found


def _plain(conditions: Mapping[str, object]) -> dict[str, JsonValue]:
    """What a record can hold of an executor's conditions."""
    kept: dict[str, JsonValue] = {}
    for name, value in conditions.items():
        if isinstance(value, tuple | list):
            kept[name] = [str(one) for one in value]
        elif name != FINAL and (value is None or isinstance(value, str | int | float | bool)):
            kept[name] = value
    return kept
