"""Records arranged as models × benchmarks, for the terminal, the workbook and the Markdown report alike. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.executors.protocol import Status
from orchestrator.records.record import Record, RecordMetric, RunFile

BASELINE_KINDS = ("random-choice", "most-frequent", "blind")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A benchmark and the metric shown for it; `metric` is None where no cell has a number."""

    benchmark: str
    metric: RecordMetric | None

    @property
    def scale(self) -> str:
        """`accuracy, %`, `norm, 0–1` or `sum, of 2800 points`: what a number in this column means."""
        if self.metric is None:
            return ""
        low = "" if self.metric.higher_is_better else ", lower is better"
        unit, top = self.metric.unit, self.metric.max
        shown = "0–1" if top == 1 else unit if top == 100 else f"of {number(top)} {unit}"
        return f"{self.metric.id}, {shown}{low}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model in one environment."""

    model: str
    environment: str
    label: str
    baseline: bool


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Rows, columns and the record of each (model, environment, benchmark)."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: Mapping[tuple[str, str, str], Record]

    def record(self, row: Row, column: Column) -> Record | None:
        return self.cells.get((row.model, row.environment, column.benchmark))

    def metric(self, row: Row, column: Column) -> RecordMetric | None:
        """The number to show, or None: nothing ran, it is not ok, or its number is on another column's scale."""
        record = self.record(row, column)
        primary = record.primary if record else None
        if primary is None or column.metric is None or _key(primary) != _key(column.metric):
            return None
        return primary


def score_table(records: Sequence[Record], run: RunFile | None = None) -> ScoreTable:
    """A run's records in the registry's order; a blind model stands under its model, other baselines last."""
    ordered = in_order(records, run)
    names = [(record.model, record.environment) for record in ordered]
    several = {model for model, environment in names if any(m == model and e != environment for m, e in names)}
    rows = dict.fromkeys(names)
    kinds = {record.model: record.kind for record in ordered}
    return ScoreTable(
        columns=tuple(_columns(ordered, run)),
        rows=tuple(
            Row(
                model=model,
                environment=environment,
                label=f"{model}@{environment}" if model in several else model,
                baseline=kinds[model] in BASELINE_KINDS,
            )
            for model, environment in rows
        ),
        cells={(record.model, record.environment, record.benchmark): record for record in ordered},
    )


def in_order(records: Sequence[Record], run: RunFile | None = None) -> list[Record]:
    """The registry's order of models, environments and benchmarks, as run.json keeps it; unknown names last."""
    models, environments, benchmarks = (
        ({name: i for i, name in enumerate(names)} for names in (run.models, run.environments, run.benchmarks))
        if run
        else ({}, {}, {})
    )

    def place(record: Record) -> tuple[object, ...]:
        shown = record.of if record.kind == "blind" and record.of else record.model
        return (
            record.kind in BASELINE_KINDS and record.kind != "blind",
            models.get(shown, len(models)),
            shown,
            record.kind == "blind",
            models.get(record.model, len(models)),
            record.model,
            environments.get(record.environment, len(environments)),
            record.environment,
            benchmarks.get(record.benchmark, len(benchmarks)),
            record.benchmark,
        )

    return sorted(records, key=place)


def _columns(records: Sequence[Record], run: RunFile | None) -> list[Column]:
    known = list(run.benchmarks) if run else []
    names = list(dict.fromkeys([n for n in known if any(r.benchmark == n for r in records)]))
    names += sorted({record.benchmark for record in records} - set(names))
    columns: list[Column] = []
    for name in names:
        found = [r.primary for r in records if r.benchmark == name and r.primary]
        # Numbers on different scales never share a column.
        scales = {_key(metric): metric for metric in found}
        columns += [Column(benchmark=name, metric=m) for m in scales.values()] or [Column(benchmark=name, metric=None)]
    return columns


def _key(metric: RecordMetric) -> tuple[object, ...]:
    return (metric.id, metric.unit, metric.min, metric.max, metric.higher_is_better)


def number(value: float, maximum: float | None = None) -> str:
    """A score with the digits that its scale deserves: three after the point up to 1, one up to 100."""
    scale = abs(value) if maximum is None else maximum
    if maximum is not None and scale <= 1:
        return f"{value:.3f}"
    if maximum is not None and scale <= 100:
        return f"{value:.1f}"
    return f"{value:.1f}".removesuffix(".0")


def interval(metric: RecordMetric) -> str:
    """`31–83` in the metric's own unit, or an empty string."""
    if metric.ci_low is None or metric.ci_high is None:
        return ""
    digits = 2 if metric.max <= 1 else 0
    return f"{metric.ci_low:.{digits}f}–{metric.ci_high:.{digits}f}"


def tally(records: Sequence[Record]) -> dict[str, int]:
    """How many cells ended how, ok first, then in the order of `Status`; statuses that no cell has are left out."""
    return {status.value: count for status in Status if (count := sum(record.status is status for record in records))}
