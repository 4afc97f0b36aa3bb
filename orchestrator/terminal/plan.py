"""The plan on the terminal: one group a model and environment, what is skipped said once a reason."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.terminal.style import STYLES, safe, sign
from orchestrator.terminal.views import PlanRow, PlanView, bytes_text, clock_text
from orchestrator.terminal.visible import one_line

_NAME = 24


def print_plan(console: Console, view: PlanView) -> None:
    """Groups, notes, then the totals last, where the eye is when the listing is long."""
    width = min(max((len(row.benchmark) for row in view.rows), default=0), _NAME)
    for (model, environment, slot), rows in groupby(view.rows, key=lambda row: (row.model, row.environment, row.slot)):
        head = Text.assemble(safe(model, "bold"), "  ", safe(environment))
        head.append(f"  {one_line(slot)}" if slot else "", style="dim")
        console.print(head)
        console.print(_group(console, list(rows), width))
    for note in view.notes:
        console.print(safe(note, "yellow"))
    console.print(safe(totals(view), "bold"), soft_wrap=True)


def totals(view: PlanView) -> str:
    """`plan  168 cells: 120 run, 44 reused, 4 skipped · 1,200 generations · fetch 0 B, free 412 GB · ETA 02:41`"""
    counts = [(status, sum(row.status == status for row in view.rows)) for status in ("run", "reused", "skipped")]
    cells = ", ".join(f"{count} {status}" for status, count in counts if count or status == "run")
    parts = [f"{view.title}  {len(view.rows)} cells: {cells}"]
    runs = [row.generations for row in view.rows if row.status == "run"]
    if runs:
        known = sum(count for count in runs if count is not None)
        parts.append(f"{known:,} generations" + (" and more, once the data is opened" if None in runs else ""))
    parts.append(f"fetch {bytes_text(view.fetch_bytes)}, free {bytes_text(view.free_bytes)}")
    if view.seconds is not None:
        parts.append(f"ETA {clock_text(view.seconds)}")
    return " · ".join(parts)


def _group(console: Console, rows: Sequence[PlanRow], width: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=11)
    grid.add_column(width=width, overflow="fold")
    grid.add_column(width=10, justify="right")
    grid.add_column(width=17, justify="right")
    grid.add_column(overflow="fold", ratio=1)
    for row in rows:
        if row.status == "run":
            numbers = (_count(row.units, "unit"), _count(row.generations, "generation"))
            why = row.why if row.bytes in (None, 0) else f"{row.why} · fetch {bytes_text(row.bytes)}"
            grid.add_row(_status(console, row.status), safe(row.benchmark), *numbers, safe(why, "dim"))
    together = Table.grid()
    together.add_column()
    if grid.row_count:
        together.add_row(grid)
    for line in [*_at_rest(console, rows, "reused"), *_at_rest(console, rows, "skipped")]:
        together.add_row(line)
    return together


def _at_rest(console: Console, rows: Sequence[PlanRow], status: str) -> list[Table]:
    """One line a reason, with the benchmarks it holds for; when that is all of several, their number is enough."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.status == status:
            reasons.setdefault(row.why, []).append(row.benchmark)
    lines = []
    for why, names in reasons.items():
        which = f"all {len(names)} benchmarks" if len(names) == len(rows) > 3 else ", ".join(names)
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=11)
        line.add_column(overflow="fold", ratio=1)
        line.add_row(_status(console, status), Text.assemble(safe(which), ": ", safe(why)))
        lines.append(line)
    return lines


def _status(console: Console, status: str) -> Text:
    return Text(f"  {sign(console, status)} {status}", style=STYLES[status])


def _count(count: int | None, noun: str) -> Text:
    return Text("?" if count is None else f"{count:,} {noun}{'' if count == 1 else 's'}")
