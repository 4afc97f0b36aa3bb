"""The final table: models × benchmarks, with n, interval and a sign for every cell without a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.executors.protocol import Status
from orchestrator.records.record import Record, RecordMetric
from orchestrator.reports.table import Column, Row, ScoreTable, interval, number, tally
from orchestrator.reports.words import notes
from orchestrator.terminal.style import STYLES, mark, safe, sign
from orchestrator.terminal.visible import one_line

_LABEL, _WIDEST, _STATUS = 28, 18, 11  # a status with its sign and footnote takes eleven
_GAP = 2


def print_scores(
    console: Console,
    table: ScoreTable,
    *,
    files: Mapping[str, str],
    notes: Sequence[str] = (),
    go_on: str = "",
) -> None:
    """The table in as many blocks as the width needs, the footnotes, notes, the tally and where the reports are."""
    footnotes = _Footnotes(console)
    for columns in _blocks(table, console.width):
        console.print(_block(console, table, columns, footnotes))
        console.print()
    if any(table.metric(row, column) for row in table.rows for column in table.columns):
        legend = "score · 95 % interval (proportions) · n scored units; scales differ by column"
        console.print(safe(legend, "dim"))
    if any(record.n_unparsed for record in table.cells.values() if record.status is Status.OK):
        console.print(safe("?3 before a score: the scorer could not read the answers of three units", "dim"))
    if any(row.baseline for row in table.rows):
        glyph = sign(console, "baseline")
        console.print(safe(f"{glyph} baseline: a score says something where it is clearly above", "dim"))
    footnotes.print()
    for note in notes:
        console.print(safe(note))
    records = list(table.cells.values())
    counts = " · ".join(f"{count} {status}" for status, count in tally(records).items())
    console.print(safe(f"{len(records)} cells: {counts}" + (f" · go on: {go_on}" if go_on else "")), soft_wrap=True)
    width = max((len(name) for name in files), default=0)
    for name, path in files.items():
        console.print(safe(f"{name:<{width}}  {path}"), soft_wrap=True)


class _Footnotes:
    """Reasons and notes, numbered as they are met; the same one of several cells is one footnote."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._records: dict[tuple[str, str, str], list[Record]] = {}

    def mark(self, record: Record) -> str:
        # A failure belongs to its model's job; what was skipped for the same reason is said once.
        row = "" if record.status is Status.SKIPPED else record.row
        return self._mark((record.status.value, record.reason, row), record)

    def notes(self, record: Record) -> str:
        """The marks of all that is to be known beside a number."""
        return " ".join(self._mark(("", said, ""), record) for said in notes(record))

    def _mark(self, key: tuple[str, str, str], record: Record) -> str:
        cells = self._records.setdefault(key, [])
        if record not in cells:
            cells.append(record)
        return mark(self._console, list(self._records).index(key) + 1)

    def print(self) -> None:
        for count, ((status, reason, row), records) in enumerate(self._records.items(), start=1):
            cell = f"{row} × {records[0].benchmark}" if row and len(records) == 1 else row
            several = f" ({len(records)} cells)" if len(records) > 1 else ""
            text = Text(f"{mark(self._console, count)} ")
            if not status:
                self._console.print(text.append(f"{one_line(reason)}{several}", style="dim"))
                continue
            text.append(f"{status}{several}", style=STYLES[status])
            text.append(f" {one_line(cell)}" if cell else "")
            text.append(f": {one_line(reason)}" if reason else "")
            if records[0].where:
                text.append(f"  {one_line(records[0].where)}", style="bold")
            self._console.print(text)


def _blocks(table: ScoreTable, width: int) -> list[list[Column]]:
    """Columns split so that each block fits the width, and about evenly: no lone column at the end."""
    room = width - _label_width(table) - _GAP
    full = _filled(table, room, len(table.columns))
    even = _filled(table, room, -(-len(table.columns) // max(len(full), 1)))
    return even if len(even) == len(full) else full


def _filled(table: ScoreTable, room: int, most: int) -> list[list[Column]]:
    blocks: list[list[Column]] = []
    used = 0
    for column in table.columns:
        wide = _width(table, column) + _GAP
        if not blocks or used + wide > room or len(blocks[-1]) == most:
            blocks.append([])
            used = 0
        blocks[-1].append(column)
        used += wide
    return blocks


def _label_width(table: ScoreTable) -> int:
    return min(max((len(one_line(row.label)) + 2 * row.baseline for row in table.rows), default=0), _LABEL)


def _width(table: ScoreTable, column: Column) -> int:
    metrics = [metric for row in table.rows if (metric := table.metric(row, column))]
    words = [len(word) for word in (column.benchmark, *column.scale.split())]
    return max([_STATUS, min(max(words), _WIDEST), *(len(_around(metric)) for metric in metrics)])


def _around(metric: RecordMetric) -> str:
    around = interval(metric)
    return f"{around} n={metric.n}" if around else f"n={metric.n}"


def _block(console: Console, table: ScoreTable, columns: Sequence[Column], footnotes: _Footnotes) -> Table:
    box = ASCII if console.options.ascii_only else SIMPLE_HEAD
    shown = Table(box=box, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    shown.add_column("", width=_label_width(table), overflow="fold")
    for column in columns:
        head = Text.assemble(safe(column.benchmark, "bold"), "\n", safe(column.scale, "dim"))
        shown.add_column(head, width=_width(table, column), justify="right", overflow="fold")
    for row in table.rows:
        prefix = f"{sign(console, 'baseline')} " if row.baseline else ""
        label = safe(f"{prefix}{row.label}", "italic" if row.baseline else "bold")
        shown.add_row(label, *(_cell(console, table, row, column, footnotes) for column in columns))
    return shown


def _cell(console: Console, table: ScoreTable, row: Row, column: Column, footnotes: _Footnotes) -> Text:
    record, metric = table.record(row, column), table.metric(row, column)
    if record is not None and metric is not None:
        return _number(console, metric, record.n_unparsed or 0, footnotes.notes(record))
    if record is None or record.status is Status.OK:
        return Text("")
    status = record.status.value
    word = "" if record.status is Status.SKIPPED else f" {status}"
    return Text(f"{sign(console, status)}{word} {footnotes.mark(record)}", style=STYLES[status])


def _number(console: Console, metric: RecordMetric, unparsed: int, marks: str) -> Text:
    around = _around(metric).replace("–", "-") if console.options.ascii_only else _around(metric)
    text = Text()
    if unparsed:
        text.append(f"?{unparsed} ", style=STYLES["warn"])
    if marks:
        text.append(f"{marks} ", style="not bold dim")
    text.append(number(metric.value, metric.max), style="bold not dim")
    return text.append(f"\n{around}", style="not bold dim")
