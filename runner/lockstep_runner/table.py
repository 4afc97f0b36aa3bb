"""`<model>_results.csv` and `.xlsx`: the runner's own table of what it scored, one row a stage and metric.

Both have the same columns and rows, and nothing that a model or a file is called is run by a spreadsheet: in the workbook
text is text, in the csv what would begin a formula stands behind a `'`, as in the orchestrator's results.csv
(orchestrator/reports/rows.py has the same rule). Text longer than a cell of the workbook holds is cut there, and says so.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from lockstep_runner.contract import OUT, Job, Stage, slug
from lockstep_runner.files import read_json

COLUMNS = (
    *("model", "benchmark", "environment", "transformers", "status", "reason", "metric", "score", "unit"),
    *("higher_is_better", "primary", "n", "n_rows", "n_units", "n_failed", "n_unparsed", "judge", "scorer"),
    *("load_seconds", "infer_seconds", "seconds", "peak_memory_gb", "device"),
)
# what a spreadsheet runs, and the protection itself; orchestrator/reports/rows.py says why
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
_INNER = re.compile(r"([;\t\n])(?=[=+\-@＝＋－＠'])")
_UNSAFE = re.compile(  # as orchestrator/terminal/visible.py
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_CELL = 32767  # characters, Excel's own limit; its writers cut longer text without a word
_TEXT_ONLY = {"strings_to_formulas": False, "strings_to_numbers": False, "strings_to_urls": False}


def write_table(job: Job) -> None:
    """Write both files from the job's result files; nothing where the job scores nothing."""
    rows = table_rows(job)
    if not rows:
        return
    name = slug(job.model.name) + "_results" if job.model else "results"
    _replace(OUT / f"{name}.csv", rows, _write_csv)
    if importlib.util.find_spec("xlsxwriter") is not None:
        _replace(OUT / f"{name}.xlsx", rows, _write_xlsx)


def table_rows(job: Job) -> list[dict[str, Any]]:
    """One row for each metric of each evaluate stage; one without a score for a stage that failed."""
    rows = []
    for stage in job.of("evaluate"):
        path = stage.folder / "result.json"
        if path.is_file():
            rows += _rows_of(stage, read_json(path))
    return rows


def _rows_of(stage: Stage, said: dict[str, Any]) -> list[dict[str, Any]]:
    infer_path = Path(stage.predictions) / "result.json"
    inferred = read_json(infer_path) if infer_path.is_file() else {}
    failure = said["failure"]
    row = {
        **{column: said[column] for column in COLUMNS if column in said},
        "model": said["model"] or inferred.get("model"),
        "transformers": said["versions"]["transformers"],
        "reason": "" if failure is None else f"{failure['type']}: {failure['message']}",
        "load_seconds": inferred.get("load_seconds"),
        "infer_seconds": inferred.get("seconds"),
        "peak_memory_gb": inferred.get("peak_memory_gb", said["peak_memory_gb"]),
        "device": inferred.get("device", said["device"]),
    }
    specs = {metric["id"]: metric for metric in stage.benchmark["metrics"]}
    primary = stage.benchmark["metrics"][0]["id"]
    scored = [
        {
            "metric": metric["id"],
            "score": metric["value"],
            "n": metric["n"],
            "unit": specs.get(metric["id"], {}).get("unit"),
            "higher_is_better": specs.get(metric["id"], {}).get("higher_is_better", True),
            "primary": metric["id"] == primary,
        }
        for metric in said["metrics"]
    ]
    return [{**row, **one} for one in scored] or [row]


def _replace(path: Path, rows: list[dict[str, Any]], write: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary, rows)
    os.replace(temporary, path)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows({column: _csv_cell(value) for column, value in row.items()} for row in rows)


def _csv_cell(value: Any) -> Any:
    """Text behind a `'` where a spreadsheet would run it; numbers as they are."""
    if not isinstance(value, str):
        return value
    inner = _INNER.sub(r"\1'", _visible(value))
    return f"'{inner}" if value.startswith(_FORMULA) else inner


def _xlsx_text(value: str) -> str:
    shown = _visible(value)
    if len(shown) <= _CELL:
        return shown
    note = f"… [cut: {len(shown):,} characters in all; the whole text is in the .csv beside this file]"
    return shown[: _CELL - len(note)] + note


def _visible(text: str) -> str:
    """Control and direction characters written out."""
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], text)


def _write_xlsx(path: Path, rows: list[dict[str, Any]]) -> None:
    import xlsxwriter  # type: ignore[import-untyped]  # it brings no types

    with xlsxwriter.Workbook(str(path), _TEXT_ONLY) as book:
        sheet = book.add_worksheet("results")
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, COLUMNS, book.add_format({"bold": True}))
        for line, row in enumerate(rows, start=1):
            for place, column in enumerate(COLUMNS):
                value = row.get(column)
                if isinstance(value, str):
                    sheet.write_string(line, place, _xlsx_text(value))
                elif value is not None:
                    sheet.write(line, place, value)
