"""Failed samples within a tolerance: a number over the answered units with both bounds; anything else has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.executors.protocol import Status
from orchestrator.job import MetricSpec
from orchestrator.validity.judge import judge_cell
from orchestrator.validity.stats import wilson
from tests.unit.made_records import ACCURACY, JobFolder, failure, prediction, score

MEAN = MetricSpec(id="accuracy", unit="%", max=100, mean=True)
PLAIN = MetricSpec(id="accuracy", unit="%", max=100)


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def test_within_the_tolerance_the_number_stands_between_its_bounds(job: JobFolder) -> None:
    job.fail("s3", "s9")  # s9 would have been wrong, s3 right
    result = judge_cell(job.evidence(max_failed_samples=20))
    assert (result.status, result.reason) == (Status.OK, "")
    assert (result.n, result.n_expected, result.n_rows, result.n_failed) == (8, 10, 10, 2)
    (metric,) = result.metrics
    assert (metric.value, metric.n, metric.bound_low, metric.bound_high) == (87.5, 8, 70.0, 90.0)
    assert metric.ci_low == pytest.approx(100 * wilson(7, 8).low)


def test_without_a_failed_sample_there_are_no_bounds(job: JobFolder) -> None:
    (metric,) = judge_cell(job.evidence(max_failed_samples=20)).metrics
    assert (metric.value, metric.bound_low, metric.bound_high) == (80.0, None, None)


def test_bounds_are_exact_for_a_mean_on_any_scale(job: JobFolder) -> None:
    job.fail("s0")
    shares = [None, 0.3, 0.6, 1.0, 1 / 3, 0.0, 0.9, 0.1, 0.7, 0.2]
    job.score([score(s, v) for s, v in zip(job.ids, shares, strict=True)])
    total = sum(v for v in shares if v is not None)
    spec = MetricSpec(id="anls", unit="points", min=-1, max=3, mean=True)
    job.result("evaluate", n_units=9, n_failed=1, metrics=[{"id": "anls", "value": -1 + 4 * total / 9, "n": 9}])
    (metric,) = judge_cell(job.evidence(max_failed_samples=10, metrics=[spec])).metrics
    assert (metric.bound_low, metric.bound_high) == pytest.approx((-1 + 4 * total / 10, -1 + 4 * (total + 1) / 10))
    assert metric.ci_low is None


def test_a_unit_of_several_samples_fails_as_a_whole(job: JobFolder) -> None:
    """Two samples of one unit fail: one unit lacks, three stand."""
    groups = {"u0": job.ids[:3], "u1": job.ids[3:6], "u2": job.ids[6:8], "u3": job.ids[8:]}
    failed = job.ids[6:8]
    job.predict([prediction(s, None, error=failure()) if s in failed else prediction(s) for s in job.ids])
    values = {"u0": 1.0, "u1": 0.0, "u2": None, "u3": 1.0}
    job.score([score(ids[0], values[name], group=name, ids=ids) for name, ids in groups.items()])
    job.result("infer", n_failed=2, n_units=4)
    metrics = [{"id": "accuracy", "value": 200 / 3, "n": 3}]
    job.result("evaluate", n_failed=2, n_units=3, metrics=metrics)
    evidence = job.evidence(groups=frozenset(groups), max_failed_samples=20)
    (metric,) = judge_cell(evidence).metrics
    assert (metric.n, metric.bound_low, metric.bound_high) == (3, 50.0, 75.0)


def rejected(job: JobFolder, tolerance: float, *specs: MetricSpec) -> tuple[str, str]:
    result = judge_cell(job.evidence(max_failed_samples=tolerance, metrics=specs or [ACCURACY]))
    assert result.metrics == ()
    assert result.n is None
    assert result.n_failed
    return result.status.value, result.reason


def test_one_more_than_tolerated_takes_the_number_away(job: JobFolder) -> None:
    job.fail("s3", "s7", "s9")
    status, reason = rejected(job, 20)
    assert status == "failed"
    assert reason == (
        "3 of 10 samples failed, 20 % are tolerated: sample s3 (and 2 more of 10): RuntimeError in infer: shapes differ"
    )


def test_where_nothing_is_tolerated_the_reason_is_the_sample_alone(job: JobFolder) -> None:
    job.fail("s3")
    assert rejected(job, 0) == ("failed", "sample s3: RuntimeError in infer: shapes differ")


def test_a_metric_that_is_no_mean_has_no_bounds_and_no_tolerance(job: JobFolder) -> None:
    job.fail("s3")
    status, reason = rejected(job, 20, PLAIN)
    assert status == "failed"
    assert reason.startswith("none may fail (accuracy is no mean over units, so it has no bounds): sample s3: Runtime")


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        ("oom", "oom", "only a model's own failures are tolerated: sample s3"),
        ("device", "infra", "only a model's own failures are tolerated: sample s3"),
        ("disk", "infra", "only a model's own failures are tolerated: sample s3"),
    ],
)
def test_what_is_not_the_models_failure_is_not_tolerated(job: JobFolder, kind: str, status: str, says: str) -> None:
    job.fail("s3", kind=kind)
    found, reason = rejected(job, 20)
    assert (found, reason.startswith(says)) == (status, True)


def test_the_machines_failure_comes_before_the_models(job: JobFolder) -> None:
    errors = {"s1": failure(), "s5": failure(kind="device", message="GPU is lost")}
    job.predict([prediction(s, None, error=errors[s]) if s in errors else prediction(s) for s in job.ids])
    job.result("infer", n_failed=2)
    assert rejected(job, 0) == ("infra", "sample s5 (and 1 more of 10): RuntimeError in infer: GPU is lost")


@pytest.mark.parametrize("kind", ["disk", "device"])
def test_a_stage_that_the_machine_ended_is_infra(job: JobFolder, kind: str) -> None:
    job.result("infer", status="failed", failure=failure(kind=kind, message="No space left on device"))
    result = judge_cell(job.evidence())
    assert (result.status, result.reason) == (Status.INFRA, "RuntimeError in infer: No space left on device")


def test_numbers_without_bounds_are_left_out_where_samples_failed(job: JobFolder) -> None:
    job.fail("s9")
    more = [
        {"id": "accuracy", "value": 800 / 9, "n": 9},
        {"id": "f1", "value": 50.0, "n": 9},
        {"id": "half", "value": 50.0, "n": 4},
        {"id": "other", "value": 50.0, "n": 9},
    ]
    job.result("evaluate", n_units=9, n_failed=1, metrics=more)
    specs = [ACCURACY, *(MetricSpec(id=name, unit="%", max=100, mean=name != "f1") for name in ("f1", "half", "other"))]
    total = MetricSpec(id="sum", unit="points", max=10, whole_only=True)
    found = judge_cell(job.evidence(whole=True, metrics=[total, *specs], max_failed_samples=10)).metrics
    assert [(m.id, m.primary) for m in found] == [("accuracy", True), ("other", False)]
    assert [(m.bound_low, m.bound_high) for m in found] == [(80.0, 90.0), pytest.approx((45.0, 55.0))]


LIES: dict[str, tuple[dict[str, object], str]] = {
    "n counts the failed": (
        {"metrics": [{"id": "accuracy", "value": 87.5, "n": 10}]},
        "result.json: accuracy stands on 10 of 8 units",
    ),
    "units not reduced": ({"n_units": 10}, "result.json: n_units is 10, planned 8"),
    "failed uncounted": ({"n_failed": 0}, "scores.jsonl: result.json counts 0 failed samples; predictions.jsonl has 2"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_scorer_that_miscounts_what_failed_is_invalid(job: JobFolder, name: str) -> None:
    changes, says = LIES[name]
    job.fail("s3", "s9")
    good = {"metrics": [{"id": "accuracy", "value": 87.5, "n": 8}], "n_units": 8, "n_failed": 2}
    job.result("evaluate", **{**good, **changes})
    assert rejected(job, 20) == ("invalid", says)


def test_a_failed_sample_that_was_scored_as_an_answer_is_invalid(job: JobFolder) -> None:
    job.fail("s3")
    job.score([score(s) for s in job.ids])
    says = "scores.jsonl: unit s3 has a score, though its sample s3 failed"
    assert rejected(job, 20) == ("invalid", says)


@pytest.mark.parametrize("spec", [ACCURACY, MEAN])
def test_a_mean_that_is_not_that_of_its_units_is_invalid(job: JobFolder, spec: MetricSpec) -> None:
    job.result("evaluate", metrics=[{"id": "accuracy", "value": 80.001, "n": 10}])
    result = judge_cell(job.evidence(metrics=[spec]))
    assert result.status is Status.INVALID
    assert result.reason == "result.json: accuracy is 80.001, but the mean of its 10 units is 80"
    job.result("evaluate", metrics=[{"id": "accuracy", "value": 80.00000001, "n": 10}])
    assert judge_cell(job.evidence(metrics=[spec])).status is Status.OK
    job.score([score(s, None) for s in job.ids])  # a scorer of whole sets: nothing to compare with
    assert judge_cell(job.evidence(metrics=[spec])).status is Status.OK


def test_a_mean_without_scores_of_its_units_has_no_bounds(job: JobFolder) -> None:
    job.fail("s3")
    job.score([score(s, None) for s in job.ids])
    assert rejected(job, 10) == ("invalid", "result.json: accuracy has no bounds, for its units have no scores")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "scores.jsonl: 1 of 10 answered units have no score"),
        (float("nan"), "scores.jsonl: the score of unit s4 is nan, outside 0..1"),
        (100.0, "scores.jsonl: the score of unit s4 is 100.0, outside 0..1"),
    ],
)
def test_every_answered_unit_has_a_score_between_nothing_and_all(
    job: JobFolder, value: float | None, says: str
) -> None:
    job.score([score(s, value if s == "s4" else 1.0) for s in job.ids])
    result = judge_cell(job.evidence(metrics=[PLAIN]))
    assert (result.status, result.reason) == (Status.INVALID, says)
