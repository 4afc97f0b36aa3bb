"""Judges a cell from what its stages left on disk. Exit codes prove nothing; what is not proven here has no number.

Files are read and nothing is written: the same judgement can be made when a job ends and when a report is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator.executors.protocol import Outcome, Status
from orchestrator.identity import samples_sha256
from orchestrator.job import MetricSpec, Prediction, ResultFile, SampleScore
from orchestrator.records import RecordMetric
from orchestrator.samples import Line, Lines, read_lines
from orchestrator.validity_metrics import judge_metrics
from orchestrator.validity_results import Rejected, Trail, read_result, reject_failure, reject_unfinished


@dataclass(frozen=True, kw_only=True)
class StageEvidence:
    """Where one stage worked, what was planned for it, and how its job ended.

    `folder` is the stage's own (`…/out/<stage id>`), `out` the job's; `log` the job's log.
    """

    id: str
    folder: Path
    out: Path
    environment: str
    transformers: str
    outcome: Outcome
    log: Path | None = None
    environment_digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class CellEvidence:
    """All that judging a cell takes. `ids` and `groups` are those chosen from the benchmark's index.

    `loads` is how often the model must have been loaded for this cell's job; None where that says nothing.
    """

    root: Path  # the run's folder: every `where` is relative to it
    model: str
    benchmark: str
    infer: StageEvidence
    evaluate: StageEvidence
    ids: frozenset[str]
    groups: frozenset[str]
    whole: bool
    metrics: Sequence[MetricSpec]
    loads: int | None = 1


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What became of a cell: metrics only where `status` is ok; counts wherever they are known."""

    status: Status
    reason: str = ""
    where: str = ""
    metrics: tuple[RecordMetric, ...] = ()
    n: int | None = None
    n_expected: int | None = None
    n_rows: int | None = None
    n_failed: int | None = None
    n_unparsed: int | None = None
    infer: ResultFile | None = None
    evaluate: ResultFile | None = None


@dataclass
class _Seen:
    """What has been read so far: it goes into the result whatever the verdict."""

    infer: ResultFile | None = None
    evaluate: ResultFile | None = None
    n_failed: int | None = None
    metrics: list[RecordMetric] = field(default_factory=list)


def judge_cell(evidence: CellEvidence) -> CellResult:
    """Judge one cell. Never raises for what a runner can have left; raises OSError where the files cannot be read."""
    seen = _Seen()
    status, reason, where = Status.OK, "", ""
    try:
        _judge(evidence, seen)
    except Rejected as rejected:
        status, reason, where = rejected.status, rejected.reason, rejected.where
    n = next((metric.n for metric in seen.metrics if metric.primary), None)
    return CellResult(
        status=status,
        reason=reason,
        where=where,
        metrics=tuple(seen.metrics) if status is Status.OK else (),
        n=n if status is Status.OK else None,
        n_expected=len(evidence.groups),
        n_rows=len(evidence.ids),
        n_failed=seen.n_failed,
        n_unparsed=seen.evaluate.n_unparsed if seen.evaluate else None,
        infer=seen.infer,
        evaluate=seen.evaluate,
    )


def _judge(evidence: CellEvidence, seen: _Seen) -> None:
    trail = Trail(root=evidence.root)
    predictions = evidence.infer.folder / "predictions.jsonl"
    rows = read_lines(predictions, Prediction) if predictions.is_file() else None
    if rows is not None:
        seen.n_failed = sum(line.value.error is not None for line in rows.lines)
    seen.infer = _result(evidence.infer, trail, _answered(evidence, rows))
    if seen.infer.failure is not None and rows is not None:
        _reject_failed(rows.lines, predictions, trail)
    _check_ok(evidence.infer, seen.infer, trail)
    _check_planned(evidence, evidence.infer, seen.infer, "infer", trail)
    if rows is None:
        trail.invalid(predictions, "missing, though the stage says that it is finished")
    if rows.problem:
        trail.invalid(predictions, rows.problem, line=rows.problem_line)
    _check_ids(evidence, rows.lines, predictions, trail)
    _check_failed(seen.infer, rows.lines, predictions, trail)
    seen.evaluate = _result(evidence.evaluate, trail, "")
    _check_ok(evidence.evaluate, seen.evaluate, trail)
    _check_planned(evidence, evidence.evaluate, seen.evaluate, "evaluate", trail)
    _check_scores(evidence, seen.evaluate, trail)
    try:
        seen.metrics = judge_metrics(evidence.metrics, seen.evaluate, whole=evidence.whole)
    except ValueError as error:
        trail.invalid(evidence.evaluate.folder / "result.json", str(error))


def _answered(evidence: CellEvidence, rows: Lines[Prediction] | None) -> str:
    if rows is None or not rows.lines:
        return ""
    answers = sum(line.value.answer is not None for line in rows.lines)
    return f" ({answers} of {len(evidence.ids)} samples answered)"


def _result(stage: StageEvidence, trail: Trail, answered: str) -> ResultFile:
    path = stage.folder / "result.json"
    if not path.is_file():
        reject_unfinished(path, stage.out / "error.json", stage.outcome, stage.log, trail, answered=answered)
    return read_result(path, trail)


def _check_ok(stage: StageEvidence, result: ResultFile, trail: Trail) -> None:
    path = stage.folder / "result.json"
    if result.failure is not None:
        reject_failure(result.failure, trail.log_line(stage.log, result.failure, path))
    if result.status != "ok":
        trail.invalid(path, "says failed and not why")


def _check_planned(
    evidence: CellEvidence, stage: StageEvidence, result: ResultFile, kind: Literal["infer", "evaluate"], trail: Trail
) -> None:
    """What was read inside must be what was planned."""
    planned: list[tuple[str, object, object]] = [
        ("kind", result.kind, kind),
        ("stage", result.stage, stage.id),
        ("benchmark", result.benchmark, evidence.benchmark),
        ("environment", result.environment, stage.environment),
        ("transformers", result.versions.transformers, stage.transformers),
        ("n_rows", result.n_rows, len(evidence.ids)),
        ("n_units", result.n_units, len(evidence.groups)),
        ("samples_sha256", result.samples_sha256, samples_sha256(evidence.ids)),
    ]
    if kind == "infer" or result.model is not None:
        planned.append(("model", result.model, evidence.model))
    if kind == "infer" and evidence.loads is not None:
        planned.append(("load_events", result.load_events, evidence.loads))
    if stage.environment_digest is not None:
        planned.append(("environment_digest", result.versions.environment_digest, stage.environment_digest))
    wrong = [f"{name} is {_short(found)}, planned {_short(want)}" for name, found, want in planned if found != want]
    if wrong:
        trail.invalid(stage.folder / "result.json", "; ".join(wrong))


def _short(value: object) -> str:
    text = "unknown" if value is None else str(value)
    return text if len(text) <= 40 else text[:12] + "…"


def _check_ids(evidence: CellEvidence, rows: Sequence[Line[Prediction]], path: Path, trail: Trail) -> None:
    """The rows must be the expected samples, each once."""
    counts = Counter(line.value.id for line in rows)
    first = {line.value.id: line.number for line in reversed(rows)}
    foreign = [sample for sample in counts if sample not in evidence.ids]
    duplicate = [sample for sample, count in counts.items() if count > 1]
    missing = sorted(evidence.ids - counts.keys())
    wrong = [
        f"{len(found)} {what} (first: {_short(found[0])})"
        for what, found in (("missing", missing), ("duplicate", duplicate), ("foreign", foreign))
        if found
    ]
    if wrong:
        place = first[duplicate[0]] if duplicate else first[foreign[0]] if foreign else max(len(rows), 1)
        trail.invalid(path, f"of {len(evidence.ids)} samples: {', '.join(wrong)}", line=place)


def _check_failed(result: ResultFile, rows: Sequence[Line[Prediction]], path: Path, trail: Trail) -> None:
    """Each row is an answer or an error, the errors are counted, and one error takes the number away."""
    unclear = next((line for line in rows if (line.value.answer is None) == (line.value.error is None)), None)
    if unclear is not None:
        what = f"sample {unclear.value.id} must have an answer or an error, not both or none"
        trail.invalid(path, what, line=unclear.number)
    failed = [line for line in rows if line.value.error is not None]
    if len(failed) != result.n_failed:
        trail.invalid(path, f"{len(failed)} failed samples, but result.json counts {result.n_failed}")
    _reject_failed(rows, path, trail)


def _reject_failed(rows: Sequence[Line[Prediction]], path: Path, trail: Trail) -> None:
    """Where a sample failed: name the first one with its error and line."""
    failed = [(line.number, line.value.id, line.value.error) for line in rows if line.value.error is not None]
    if not failed:
        return
    number, sample, error = failed[0]
    others = f" (and {len(failed) - 1} more of {len(rows)})" if len(failed) > 1 else ""
    status = Status.OOM if error.kind == "oom" else Status.FAILED
    trail.reject(status, f"sample {sample}{others}: {error.type} in {error.phase}: {error.message}", path, number)


def _check_scores(evidence: CellEvidence, result: ResultFile, trail: Trail) -> None:
    """scores.jsonl must hold the chosen units, each once, and the unparsed ones that result.json counts."""
    path = evidence.evaluate.folder / "scores.jsonl"
    if not path.is_file():
        trail.invalid(path, "missing, though the stage says that it is finished")
    units = read_lines(path, SampleScore)
    if units.problem:
        trail.invalid(path, units.problem, line=units.problem_line)
    groups = Counter(line.value.group for line in units.lines)
    if set(groups) != evidence.groups or max(groups.values(), default=0) > 1:
        trail.invalid(path, f"{len(units.lines)} units of {len(groups)} groups, planned {len(evidence.groups)} groups")
    if set().union(*(line.value.ids for line in units.lines)) != evidence.ids:
        trail.invalid(path, f"the units do not hold the {len(evidence.ids)} planned samples")
    unparsed = sum(line.value.unparsed for line in units.lines)
    if unparsed != result.n_unparsed:
        trail.invalid(path, f"{unparsed} unparsed units, but result.json counts {result.n_unparsed}")
    if result.n_failed:
        trail.invalid(path, f"result.json counts {result.n_failed} failed samples; predictions.jsonl has none")
