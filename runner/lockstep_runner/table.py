"""`<model>_results.csv` and `.xlsx`: the runner's own table of what it scored, one row a stage and metric.

Both have the same columns and rows. In the workbook text is text: nothing that a model or a file is called becomes a
formula, a number or a link.
"""

from __future__ import annotations

import csv
import importlib.util
import os
from pathlib import Path
from typing import Any

from lockstep_runner.contract import OUT, Job, Stage, slug
from lockstep_runner.files import read_json

COLUMNS = (
    *("model", "benchmark", "environment", "transformers", "status", "reason", "metric", "score", "unit"),
    *("higher_is_better", "primary", "n", "n_rows", "n_units", "n_failed", "n_unparsed", "judge", "scorer"),
    *("load_seconds", "infer_seconds", "seconds", "peak_memory_gb", "device"),
)
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
        writer.writerows(rows)


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
                    sheet.write_string(line, place, value[:32767])
                elif value is not None:
                    sheet.write(line, place, value)
