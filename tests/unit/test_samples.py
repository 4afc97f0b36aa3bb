"""`show`: what was asked, answered, read and wrong, sample by sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import LockstepError
from orchestrator.executors.protocol import Status
from orchestrator.job import Prediction
from orchestrator.records.samples import read_lines, samples_of
from tests.unit.made_records import NASTY, JobFolder, a_run, failure, prediction, record, score, unscored, write_lines


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    run = a_run(tmp_path, [record()])
    return JobFolder(run.root)


def test_samples_show_question_reference_answer_and_score(job: JobFolder, tmp_path: Path) -> None:
    samples, notes = samples_of(a_run(tmp_path, []), record())
    assert notes == []
    assert len(samples) == 10
    first = samples[0]
    assert (first.id, first.question, first.reference, first.answer) == ("s0", "Is s0 there?", "Yes", "Yes")
    assert (first.parsed, first.score, first.error, first.failed) == ("Yes", 1.0, None, False)
    assert first.place == "llava/tf-4.37/POPE/infer/predictions.jsonl:1"


def test_failed_keeps_errors_unreadable_and_wrong_ones(job: JobFolder, tmp_path: Path) -> None:
    job.predict([prediction(s, None, error=failure()) if s == "s1" else prediction(s) for s in job.ids])
    job.score([score(s, 0.0 if s == "s2" else 1.0, unparsed=s == "s3") for s in job.ids])
    samples, _ = samples_of(a_run(tmp_path, []), record(), failed=True)
    assert [s.id for s in samples] == ["s1", "s2", "s3"]
    assert samples[0].error == "RuntimeError in infer: shapes differ"


def test_a_unit_of_several_rows_is_shown_with_each(job: JobFolder, tmp_path: Path) -> None:
    job.score([score("s0", group="image-1", ids=["s0", "s1"]), *[score(s) for s in job.ids[2:]]])
    samples, _ = samples_of(a_run(tmp_path, []), record())
    assert [(s.id, s.group) for s in samples[:3]] == [("s0", "image-1"), ("s1", "image-1"), ("s2", "s2")]


def test_what_is_damaged_is_said_and_the_rest_is_shown(job: JobFolder, tmp_path: Path) -> None:
    path = job.infer / "predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    (job.evaluate / "scores.jsonl").unlink()
    samples, notes = samples_of(a_run(tmp_path, []), record())
    assert len(samples) == 9
    assert notes[0] == "llava/tf-4.37/POPE/infer/predictions.jsonl: line 10: torn (it has no line end)"
    assert notes[1].startswith("not scored yet")


def test_a_cell_that_answered_nothing_says_why(tmp_path: Path) -> None:
    cell = unscored(Status.SKIPPED, "limit too small", command="python run_matrix.py repro llava POPE --run r")
    with pytest.raises(LockstepError, match=r"no sample was answered \(skipped: limit too small\); type python run_"):
        samples_of(a_run(tmp_path, []), cell)


@pytest.mark.parametrize("answer", [*NASTY, "", "\u2028\u0085\r\n", "x" * 1_000_000, "half \ud800 a pair"])
def test_every_answer_is_read_line_by_line(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "predictions.jsonl"
    write_lines(path, [prediction("a", answer), prediction("b", "next")])
    lines = read_lines(path, Prediction)
    assert lines.problem is None
    assert [line.value.id for line in lines.lines] == ["a", "b"]
    expected = answer.encode("utf-8", "backslashreplace").decode()
    assert lines.lines[0].value.answer == expected
