"""The runner's own tables beside the records: where they differ, one of them is wrong, and the report says so."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.executors.protocol import Status
from orchestrator.job import JobFile
from orchestrator.layout import RunLayout, slug
from orchestrator.records.record import Record
from orchestrator.reports.rows import csv_text
from orchestrator.untrusted import SMALL, is_plain, read_plain


@dataclass(frozen=True, kw_only=True)
class _Number:
    score: float
    n: int
    place: str


def disagreements(run: RunLayout, records: Sequence[Record]) -> list[str]:
    """A line for each number of an ok record that the runner's table, where there is one, lacks or gives otherwise.

    The runner may say ok where the host does not: the host is the stricter one, and such rows are no disagreement.
    """
    problems: list[str] = []
    for record in records:
        if record.status is not Status.OK:
            continue
        if not (tables := _tables(run, record)):
            continue
        said: dict[str, _Number] = {}
        for path in tables:
            try:
                said |= dict(_rows(run, path, record.benchmark))
            except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:  # a job may have written anything
                problems.append(f"{_shown(run, path)}: not a table of the runner's: {type(error).__name__}: {error}")
                break
        else:
            problems += _differences(record, said, due=bool(said) or _scored_last(run, record))
    return list(dict.fromkeys(problems))


def _scored_last(run: RunLayout, record: Record) -> bool:
    """Whether the latest job was to score this cell. One that stood finished, here or in another run, is in no job."""
    stage = record.stage("evaluate")
    elsewhere = f"+{stage.environment}" if stage and stage.environment != record.environment else ""
    path = run.job_folder(f"{record.model}@{record.environment}{elsewhere}") / "work" / "job.json"
    try:
        file = JobFile.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return True
    return any(one.kind == "evaluate" and one.benchmark.name == record.benchmark for one in file.stages)


def _differences(record: Record, said: Mapping[str, _Number], *, due: bool) -> Iterator[str]:
    """`due`: it must be in the runner's table."""
    for metric in record.metrics:
        own, theirs = f"{record.row} × {record.benchmark}, {metric.id}", said.get(metric.id)
        if theirs is None and not due:
            continue
        if theirs is None:
            yield f"{own}: {metric.value!r} in the record, no row in the runner's table"
        elif not math.isclose(theirs.score, metric.value, rel_tol=1e-9, abs_tol=1e-9) or theirs.n != metric.n:
            ours = f"{metric.value!r} (n {metric.n}) in the record"
            yield f"{own}: {ours}, {theirs.score!r} (n {theirs.n}) at {theirs.place}"


def _shown(run: RunLayout, path: Path) -> str:
    return path.relative_to(run.root).as_posix()


def _tables(run: RunLayout, record: Record) -> list[Path]:
    """The runner's tables in which this cell may be, whichever job scored it.

    A job that was ended early has none, and neither has a run of which only the records were kept.
    """
    out = run.job_out(record.model, record.environment)
    # A job that only evaluates has no model, and calls its table results.csv.
    found = [out / f"{slug(record.model)}_results.csv", *sorted(out.glob("evaluate@*/*results.csv"))]
    return [path for path in found if is_plain(path, below=run.root)]


def _rows(run: RunLayout, path: Path, benchmark: str) -> Iterator[tuple[str, _Number]]:
    content = read_plain(path, limit=SMALL, below=run.root).decode("utf-8")
    reader = csv.DictReader(io.StringIO(content, newline=""))
    for row in reader:
        if csv_text(row["benchmark"]) == benchmark and row["status"] == "ok" and row["score"]:
            place = f"{_shown(run, path)}:{reader.line_num}"
            yield csv_text(row["metric"]), _Number(score=float(row["score"]), n=int(row["n"]), place=place)
