"""A cell is ok only if its files prove it; each test harms one of them and asks for status, words and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.executors.protocol import Outcome, Status
from orchestrator.job import MetricSpec
from orchestrator.validity.judge import judge_cell
from orchestrator.validity.stats import wilson
from tests.unit.made_records import ACCURACY, JobFolder, failure, prediction, score, versions, write_lines


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def test_a_whole_cell_is_ok_with_its_interval(job: JobFolder) -> None:
    result = judge_cell(job.evidence())
    assert (result.status, result.reason, result.where) == (Status.OK, "", "")
    assert (result.n, result.n_expected, result.n_rows, result.n_failed, result.n_unparsed) == (10, 10, 10, 0, 0)
    (metric,) = result.metrics
    assert (metric.id, metric.value, metric.n, metric.primary, metric.unit, metric.max) == (
        *("accuracy", 80.0, 10, True),
        *("%", 100),
    )
    assert (metric.ci_low, metric.ci_high) == pytest.approx((100 * wilson(8, 10).low, 100 * wilson(8, 10).high))
    assert result.infer is not None
    assert result.infer.versions.transformers == "4.37.2"


def test_only_a_proportion_has_a_wilson_interval(job: JobFolder) -> None:
    (metric,) = judge_cell(job.evidence(metrics=[ACCURACY.model_copy(update={"proportion": False})])).metrics
    assert metric.ci_low is None
    assert metric.ci_high is None


def harmed(job: JobFolder, harm: Callable[[JobFolder], object]) -> tuple[str, str, str]:
    harm(job)
    result = judge_cell(job.evidence())
    assert result.metrics == ()
    assert result.n is None
    assert "\n" not in result.reason
    return result.status.value, result.reason, result.where


INFER = "llava/tf-4.37/POPE/infer"
EVALUATE = "llava/tf-4.37/POPE/evaluate"


def _torn(job: JobFolder) -> None:
    path = job.infer / "predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def _latin(job: JobFolder) -> None:
    path = job.infer / "predictions.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"Yes"', b'"\xe9"', 1))


PREDICTIONS: dict[str, tuple[Callable[[JobFolder], object], str, int]] = {
    "torn last line": (_torn, "predictions.jsonl: line 10: torn (it has no line end)", 10),
    "not UTF-8": (_latin, "predictions.jsonl: line 1: ", 1),
    "one missing": (
        lambda job: job.predict([prediction(s) for s in job.ids if s != "s4"]),
        "predictions.jsonl: of 10 samples: 1 missing (first: s4)",
        9,
    ),
    "duplicated block": (
        lambda job: job.predict([prediction(s) for s in [*job.ids, *job.ids[2:5]]]),
        "predictions.jsonl: of 10 samples: 3 duplicate (first: s2)",
        3,
    ),
    "foreign id": (
        lambda job: job.predict([prediction(s) for s in [*job.ids, "alien"]]),
        "predictions.jsonl: of 10 samples: 1 foreign (first: alien)",
        11,
    ),
    "answer and error": (
        lambda job: job.predict([prediction(s, "Yes", error=failure() if s == "s3" else None) for s in job.ids]),
        "predictions.jsonl: sample s3 must have an answer or an error, not both or none",
        4,
    ),
    "neither": (
        lambda job: job.predict([prediction(s, None if s == "s0" else "Yes") for s in job.ids]),
        "predictions.jsonl: sample s0 must have an answer or an error, not both or none",
        1,
    ),
    "uncounted failure": (
        lambda job: job.predict([prediction("s0", None, error=failure()), *map(prediction, job.ids[1:])]),
        "predictions.jsonl: 1 failed samples, but result.json counts 0",
        1,
    ),
    "gone": (
        lambda job: (job.infer / "predictions.jsonl").unlink(),
        "predictions.jsonl: missing, though the stage says that it is finished",
        1,
    ),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions_must_be_the_expected_samples(job: JobFolder, name: str) -> None:
    harm, says, line = PREDICTIONS[name]
    status, reason, where = harmed(job, harm)
    assert status == "invalid"
    assert reason.startswith(says)
    assert where == f"{INFER}/{'result.json' if name == 'gone' else 'predictions.jsonl'}:{line}"


RESULTS: dict[str, tuple[dict[str, object], str]] = {
    "older format": ({"schema_version": 0}, "schema_version 0, older; this Lockstep reads 2: type make images"),
    "newer format": ({"schema_version": 3}, "schema_version 3, newer; this Lockstep reads 2: type make images"),
    "another transformers": (
        {"versions": versions(transformers="4.42.4")},
        "transformers is 4.42.4, planned 4.37.2",
    ),
    "transformers not told": (
        {"versions": versions(transformers=None)},
        "transformers is unknown, planned 4.37.2",
    ),
    "other samples": ({"samples_sha256": "0" * 64}, "samples_sha256 is 000000000000…, planned "),
    "fewer rows": ({"n_rows": 9, "n_units": 9}, "n_rows is 9, planned 10; n_units is 9, planned 10"),
    "loaded twice": ({"load_events": 2}, "load_events is 2, planned 1"),
    "another model": ({"model": "other"}, "model is other, planned llava"),
    "another benchmark": ({"benchmark": "MME"}, "benchmark is MME, planned POPE"),
    "failed and not why": ({"status": "failed"}, "says failed and not why"),
    "a field too many": ({"bonus": 1}, "bonus: Extra inputs are not permitted"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_must_be_what_was_planned(job: JobFolder, name: str) -> None:
    changes, says = RESULTS[name]
    status, reason, where = harmed(job, lambda job: job.result("infer", **changes))
    assert (status, where) == ("invalid", f"{INFER}/result.json:1")
    assert reason.startswith(f"result.json: {says}")


def test_a_torn_result_is_invalid(job: JobFolder) -> None:
    path = job.infer / "result.json"
    path.write_text(path.read_text()[:40])
    status, reason, where = harmed(job, lambda job: None)
    assert (status, where) == ("invalid", f"{INFER}/result.json:1")
    assert reason.startswith("result.json: cut or not JSON")


def test_the_digest_read_inside_must_be_the_planned_one(job: JobFolder) -> None:
    evidence = job.evidence()
    planned = replace(evidence.infer, environment_digest="a" * 64)
    result = judge_cell(replace(evidence, infer=planned))
    assert result.status is Status.INVALID
    assert result.reason == "result.json: environment_digest is efefefefefef…, planned aaaaaaaaaaaa…"


METRICS: dict[str, tuple[list[dict[str, object]], str]] = {
    "not a number": ([{"id": "accuracy", "value": float("nan"), "n": 10}], "accuracy is nan"),
    "infinite": ([{"id": "accuracy", "value": float("inf"), "n": 10}], "accuracy is inf"),
    "above its scale": ([{"id": "accuracy", "value": 100.5, "n": 10}], "accuracy is 100.5, outside 0..100 %"),
    "below its scale": ([{"id": "accuracy", "value": -1.0, "n": 10}], "accuracy is -1, outside 0..100 %"),
    "unknown": (
        [{"id": "accuracy", "value": 80.0, "n": 10}, {"id": "f1", "value": 1.0, "n": 10}],
        "metric f1 is none of the benchmark's for these samples",
    ),
    "twice": ([{"id": "accuracy", "value": 80.0, "n": 10}] * 2, "accuracy twice"),
    "none": ([], "primary metric accuracy is missing"),
    "over fewer units": ([{"id": "accuracy", "value": 100.0, "n": 8}], "accuracy stands on 8 of 10 units"),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_must_be_finite_known_and_on_its_scale(job: JobFolder, name: str) -> None:
    metrics, says = METRICS[name]
    status, reason, where = harmed(job, lambda job: job.result("evaluate", metrics=metrics))
    assert (status, reason) == ("invalid", f"result.json: {says}")
    assert where == f"{EVALUATE}/result.json:1"


def test_a_sum_is_not_shown_for_a_part(job: JobFolder) -> None:
    total = MetricSpec(id="sum", unit="points", max=2800, whole_only=True)
    job.result("evaluate", metrics=[{"id": "sum", "value": 140.0, "n": 10}, {"id": "accuracy", "value": 80.0, "n": 10}])
    part = judge_cell(job.evidence(metrics=[total, ACCURACY]))
    assert part.status is Status.INVALID
    assert "metric sum is none of the benchmark's for these samples" in part.reason
    whole = judge_cell(job.evidence(metrics=[total, ACCURACY], whole=True))
    assert [(m.id, m.primary, m.value) for m in whole.metrics] == [("sum", True, 140.0), ("accuracy", False, 80.0)]


def test_on_a_part_the_first_metric_that_stands_for_one_is_primary(job: JobFolder) -> None:
    total = MetricSpec(id="sum", unit="points", max=2800, whole_only=True)
    part = judge_cell(job.evidence(metrics=[total, ACCURACY]))
    assert [(m.id, m.primary) for m in part.metrics] == [("accuracy", True)]
    alone = judge_cell(job.evidence(metrics=[total]))
    assert alone.status is Status.INVALID
    assert "no metric of this benchmark stands for a part" in alone.reason


SCORES: dict[str, tuple[Callable[[JobFolder], list[dict[str, object]]], str]] = {
    "a unit short": (lambda job: [score(s) for s in job.ids[1:]], "9 units of 9 groups, planned 10 groups"),
    "a unit twice": (lambda job: [score(s) for s in [*job.ids, "s0"]], "11 units of 10 groups, planned 10 groups"),
    "samples lost": (
        lambda job: [score(s, ids=[] if s == "s0" else [s]) for s in job.ids],
        "the units do not hold the 10 planned samples, each once",
    ),
    "unparsed uncounted": (
        lambda job: [score(s, unparsed=s == "s0") for s in job.ids],
        "1 unparsed units, but result.json counts 0",
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_must_be_the_chosen_units(job: JobFolder, name: str) -> None:
    rows, says = SCORES[name]
    status, reason, where = harmed(job, lambda job: job.score(rows(job)))
    assert (status, reason, where) == ("invalid", f"scores.jsonl: {says}", f"{EVALUATE}/scores.jsonl:1")


def test_unparsed_answers_are_counted_and_keep_the_number(job: JobFolder) -> None:
    job.score([score(s, 0.0 if s in ("s0", "s1") else 1.0, unparsed=s == "s0") for s in job.ids])
    job.result("evaluate", metrics=[{"id": "accuracy", "value": 80.0, "n": 10}], n_unparsed=1)
    result = judge_cell(job.evidence())
    assert (result.status, result.n_unparsed) == (Status.OK, 1)


def test_one_failed_sample_takes_the_number_away(job: JobFolder) -> None:
    job.predict([prediction(s, None, error=failure()) if s in ("s3", "s7") else prediction(s) for s in job.ids])
    job.result("infer", n_failed=2)
    result = judge_cell(job.evidence())
    assert (result.status, result.n_failed) == (Status.FAILED, 2)
    assert result.reason == "sample s3 (and 1 more of 10): RuntimeError in infer: shapes differ"
    assert result.where == f"{INFER}/predictions.jsonl:4"
    assert result.metrics == ()


def test_a_model_that_raises_on_every_sample_names_the_first(job: JobFolder) -> None:
    job.predict([prediction(s, None, error=failure()) for s in job.ids])
    job.result("infer", status="failed", failure=failure(sample="s0"), n_failed=10)
    result = judge_cell(job.evidence())
    assert (result.status, result.n_failed) == (Status.FAILED, 10)
    assert result.reason == "sample s0 (and 9 more of 10): RuntimeError in infer: shapes differ"
    assert result.where == f"{INFER}/predictions.jsonl:1"


def test_a_stage_that_failed_points_into_the_log(job: JobFolder) -> None:
    job.result("evaluate", status="failed", failure=failure(kind="scorer", phase="evaluate"))
    status, reason, where = harmed(job, lambda job: None)
    assert (status, reason) == ("failed", "RuntimeError in evaluate: shapes differ")
    assert where == "logs/llava@tf-4.37.log:2"


def test_out_of_memory_is_its_own_status(job: JobFolder) -> None:
    job.result("infer", status="failed", failure=failure(kind="oom", type="OutOfMemoryError", message="CUDA\n at 0x1"))
    status, reason, _ = harmed(job, lambda job: None)
    assert (status, reason) == ("oom", "OutOfMemoryError in infer: CUDA at 0x1")


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.OOM, Status.INFRA, Status.SKIPPED])
def test_without_a_result_the_jobs_end_is_the_cells(job: JobFolder, status: Status) -> None:
    (job.infer / "result.json").unlink()
    (job.out / "error.json").write_text("{}")
    result = judge_cell(
        job.evidence(Outcome(status=status, reason="what the host saw", where="logs/llava@tf-4.37.log:2"))
    )
    assert (result.status, result.where) == (status, "logs/llava@tf-4.37.log:2")
    assert result.reason == "what the host saw (10 of 10 samples answered)"


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.INFRA, Status.FAILED])
@pytest.mark.parametrize("log", [None, b""])
@pytest.mark.parametrize("where", ["", "logs/gone.log:9"])
def test_nobody_is_sent_to_a_file_that_is_not_there(
    job: JobFolder, status: Status, log: bytes | None, where: str
) -> None:
    (job.infer / "result.json").unlink()
    job.log.unlink() if log is None else job.log.write_bytes(log)
    result = judge_cell(job.evidence(Outcome(status=status, reason="not started", where=where)))
    assert (result.status, result.where) == (status, "")


def test_a_job_that_never_started_is_not_explained_by_an_earlier_start(job: JobFolder) -> None:
    (job.infer / "result.json").unlink()
    assert judge_cell(job.evidence(Outcome(status=Status.SKIPPED, reason="held"))).where == ""
    assert judge_cell(job.evidence(Outcome(status=Status.INFRA, reason="lost"))).where == "logs/llava@tf-4.37.log:3"


def test_a_cell_that_was_finished_stands_though_its_job_ended_badly(job: JobFolder) -> None:
    assert judge_cell(job.evidence(Outcome(status=Status.TIMEOUT, reason="too long"))).status is Status.OK


def test_exit_code_zero_proves_nothing(job: JobFolder) -> None:
    (job.evaluate / "result.json").unlink()
    status, reason, where = harmed(job, lambda job: None)
    assert (status, reason) == ("failed", f"the runner ended without {EVALUATE}/result.json")
    assert where == "logs/llava@tf-4.37.log:3"


def test_the_runners_own_error_record_is_the_reason(job: JobFolder) -> None:
    (job.infer / "result.json").unlink()
    (job.infer / "predictions.jsonl").unlink()
    path = job.out / "error.json"
    write_lines(path, [failure(kind="model", type="ImportError", message="no flash_attn\nin here", phase="load")])
    status, reason, where = harmed(job, lambda job: None)
    assert (status, reason) == ("failed", "ImportError in load: no flash_attn in here")
    assert where == "llava/tf-4.37/error.json:1"


def test_a_hostile_reason_is_one_safe_line(job: JobFolder) -> None:
    message = "\x1b[2J\u202ecod\n" + "x" * 100_000
    job.result("infer", status="failed", failure=failure(message=message))
    _, reason, _ = harmed(job, lambda job: None)
    assert reason.startswith("RuntimeError in infer: \\x1b[2J\\u202ecod xxx")
    assert len(reason) == 400
