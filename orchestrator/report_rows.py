"""results.csv: one row per cell and metric, and what keeps a spreadsheet from running what a model wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from orchestrator.records import Record, RecordMetric
from orchestrator.visible import visible

COLUMNS = (
    "run_id",
    "model",
    "revision",
    "pinned",
    "benchmark",
    "environment",
    "transformers",
    "status",
    "reason",
    "metric",
    "score",
    "unit",
    "higher_is_better",
    "primary",
    "limit",
    "n",
    "n_expected",
    "n_failed",
    "n_unparsed",
    "ci_low",
    "ci_high",
    "judge",
    "load_seconds",
    "seconds",
    "peak_memory_gb",
    "gpu",
    "isolated",
    "image",
    "lock",
    "identity",
)

Value = str | int | float | bool | None
_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")


def result_rows(records: Iterable[Record]) -> list[dict[str, Value]]:
    """One row per cell and metric, keyed by COLUMNS; a cell without a number has one row whose score is None."""
    return [_row(record, metric) for record in records for metric in (record.metrics or (None,))]


def _row(record: Record, metric: RecordMetric | None) -> dict[str, Value]:
    row: dict[str, Value] = {
        "run_id": record.run_id,
        "model": record.model,
        "revision": record.revision,
        "pinned": record.pinned,
        "benchmark": record.benchmark,
        "environment": record.environment,
        "transformers": record.transformers,
        "status": record.status.value,
        "reason": record.reason,
        "limit": record.limit,
        "n_expected": record.n_expected,
        "n_failed": record.n_failed,
        "n_unparsed": record.n_unparsed,
        "judge": record.judge,
        "load_seconds": record.load_seconds,
        "seconds": record.seconds,
        "peak_memory_gb": record.peak_memory_gb,
        "gpu": record.gpu,
        "isolated": record.isolated,
        "image": record.image,
        "lock": record.lock,
        "identity": record.identity.score or record.identity.prediction,
    }
    if metric is not None:
        row |= {
            "metric": metric.id,
            "score": metric.value,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "primary": metric.primary,
            "n": metric.n,
            "ci_low": metric.ci_low,
            "ci_high": metric.ci_high,
        }
    return {name: row.get(name) for name in COLUMNS}


def csv_cell(value: Value) -> str:
    """The text of one CSV cell: None is empty, numbers are exact, text that a spreadsheet would run gets a `'`.

    Text that starts with `= + - @`, a tab, a carriage return or `'` itself is protected, so that taking one leading `'`
    away where one of these follows gives the text back. Control characters are written out.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return f"'{visible(value)}" if value.startswith(_STARTS) else visible(value)


def csv_text(value: str) -> str:
    """The text behind a cell that `csv_cell` wrote."""
    return value[1:] if value.startswith("'") and value[1:].startswith((*_STARTS, "\\r")) else value


def csv_bytes(rows: Sequence[dict[str, Value]], columns: Sequence[str] = COLUMNS) -> bytes:
    """A whole CSV file, UTF-8, `\\n` as line end."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(row[name]) for name in columns] for row in rows)
    return out.getvalue().encode()
