"""What a hostile, torn or foreign job folder can hold: each is a reason, never a crash, a number or a look outside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.executors.protocol import Outcome, Status
from orchestrator.layout import slug
from orchestrator.records.samples import read_conditions
from orchestrator.validity.judge import judge_cell
from tests.unit.made_records import (
    DIGEST,
    HERE,
    JobFolder,
    conditions,
    failure,
    prediction,
    score,
    stage_result,
    versions,
    write_lines,
)

INFER = "llava/tf-4.37/POPE/infer"
THERE = "ffff00001111"
LATER = conditions(run_id="20261120-020000", device="cuda", gpus=["NVIDIA A100"], batch_size=1)


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def mixed(job: JobFolder, **changes: object) -> None:
    """Three of ten answers are from another run."""
    job.predict([prediction(s, conditions=THERE if s in job.ids[4:7] else HERE) for s in job.ids])
    job.conditions({HERE: conditions(), THERE: {**LATER, **changes}})


def test_answers_of_several_runs_lie_in_one_file_and_say_so(job: JobFolder) -> None:
    mixed(job)
    result = judge_cell(job.evidence())
    assert result.status is Status.OK
    assert [(a.samples, a.conditions.run_id, a.conditions.gpus) for a in result.answered] == [
        (7, "20261121-020000", []),
        (3, "20261120-020000", ["NVIDIA A100"]),
    ]
    assert read_conditions(job.infer, below=job.root)[THERE].batch_size == 1


OTHERS: dict[str, tuple[dict[str, object], str]] = {
    "environment": (
        {"versions": versions(environment_digest="0" * 64)},
        f"environment_digest is 000000000000…, planned {DIGEST[:12]}…",
    ),
    "environment not told": (
        {"versions": versions(environment_digest=None)},
        f"environment_digest is unknown, planned {DIGEST[:12]}…",
    ),
    "transformers": ({"versions": versions(transformers="4.42.4")}, "transformers is 4.42.4, planned 4.37.2"),
    "adapter": ({"adapter": "hf 2"}, "adapter is hf 2, planned hf 1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_answers_of_another_environment_or_adapter_are_invalid(job: JobFolder, name: str) -> None:
    changes, says = OTHERS[name]
    mixed(job, **changes)
    result = judge_cell(job.evidence())
    assert (result.status, result.where) == (Status.INVALID, f"{INFER}/predictions.jsonl:5")
    shown = "predictions.jsonl: 3 of 10 answers of another environment (run 20261120-020000): "
    assert result.reason == shown + says


def test_the_planned_adapter_counts_where_it_is_known(job: JobFolder) -> None:
    evidence = job.evidence()
    result = judge_cell(replace(evidence, infer=replace(evidence.infer, adapter="hf 2")))
    assert (result.status, result.reason) == (Status.INVALID, "result.json: adapter is hf 1, planned hf 2")


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


CONDITIONS: dict[str, tuple[Callable[[JobFolder], object], str, str]] = {
    "gone": (
        lambda job: (job.infer / "conditions.json").unlink(),
        "conditions.json: missing, so nothing says where and how these answers were made",
        "result.json:1",  # counts on it
    ),
    "torn": (lambda job: _write(job.infer / "conditions.json", '{"0a1'), "conditions.json: Invalid JSON", ""),
    "no conditions": (
        lambda job: _write(job.infer / "conditions.json", '{"0a1b2c3d4e5f": {"device": "cpu"}}'),
        f"conditions.json: {HERE}.run_id: Field required",
        "conditions.json:1",
    ),
    "another key": (
        lambda job: job.conditions({THERE: conditions()}),
        f"predictions.jsonl: conditions {HERE} of 10 samples are not in conditions.json",
        "predictions.jsonl:1",
    ),
    "older runner": (
        lambda job: job.predict([prediction(s, conditions=None if s == "s2" else HERE) for s in job.ids]),
        "predictions.jsonl: sample s2 names no conditions, as older runners left it; type make images, then run again",
        "predictions.jsonl:3",
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_answer_must_say_how_it_was_made(job: JobFolder, name: str) -> None:
    harm, says, where = CONDITIONS[name]
    harm(job)
    result = judge_cell(job.evidence())
    assert (result.status, result.metrics) == (Status.INVALID, ())
    assert result.reason.startswith(says)
    assert result.where.startswith(f"{INFER}/{where}")


def test_no_conditions_file_is_told_from_a_broken_one(job: JobFolder) -> None:
    (job.infer / "conditions.json").write_text("[]")
    with pytest.raises(ValueError, match=r"^conditions\.json: Input should be an object$"):
        read_conditions(job.infer)
    (job.infer / "conditions.json").unlink()
    with pytest.raises(FileNotFoundError):
        read_conditions(job.infer)


LINKED = ["infer/predictions.jsonl", "infer/conditions.json", "infer/result.json"]
LINKED += ["evaluate/result.json", "evaluate/scores.jsonl"]


@pytest.mark.parametrize("name", LINKED)
def test_a_link_in_the_outputs_is_never_followed(job: JobFolder, tmp_path: Path, name: str) -> None:
    path = job.out / "POPE" / name
    secret = tmp_path.parent / f"{tmp_path.name}-secret"
    os.rename(path, secret)  # what it points to would even be right
    path.symlink_to(secret)
    result = judge_cell(job.evidence())
    assert (result.status, result.where) == (Status.INVALID, f"llava/tf-4.37/POPE/{name}:1")
    assert result.reason.endswith(f"{path.name} is a link, not a file")
    secret.unlink()
    assert judge_cell(job.evidence()).status is Status.INVALID


@pytest.mark.parametrize("stage", ["infer", "evaluate"])
def test_a_stage_folder_that_is_a_link_is_never_followed(job: JobFolder, tmp_path: Path, stage: str) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    os.rename(job.out / "POPE" / stage, outside)
    (job.out / "POPE" / stage).symlink_to(outside)
    result = judge_cell(job.evidence())
    assert (result.status, result.metrics) == (Status.INVALID, ())
    assert result.reason.endswith(f"{stage} is a link, not a folder")


def test_an_error_record_that_is_a_link_is_not_read(job: JobFolder, tmp_path: Path) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-error"
    write_lines(secret, [failure(message="the secret")])
    (job.infer / "result.json").unlink()
    (job.out / "error.json").symlink_to(secret)
    result = judge_cell(job.evidence())
    assert result.status is Status.FAILED
    assert "secret" not in result.reason


@pytest.mark.parametrize("name", LINKED)
def test_a_pipe_in_the_place_of_a_file_does_not_hang(job: JobFolder, name: str) -> None:
    path = job.out / "POPE" / name
    path.unlink()
    os.mkfifo(path)
    result = judge_cell(job.evidence())
    assert result.status is Status.INVALID
    assert result.reason.endswith(f"{path.name} is a named pipe, not a file")


JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "result.json: cut or not JSON: Expecting value"),
    "torn": (b'{"schema_version": 2, "stage": "PO', "result.json: cut or not JSON: Unterminated string"),
    "bytes": (b"\xff\xfe\x00", "result.json: not UTF-8"),
    "a list": (b"[]", "result.json: schema_version None; this Lockstep reads 2"),
    "deep": (b"[" * 200_000, "result.json: a number too long or lists too deep"),
    "long number": (b'{"schema_version": ' + b"1" * 5000 + b"}", "result.json: a number too long or lists too deep"),
    "old format": (b'{"schema_version": 1}', "result.json: schema_version 1, older; this Lockstep reads 2: type make"),
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("stage", ["infer", "evaluate"])
def test_whatever_stands_in_a_result_is_a_reason(job: JobFolder, stage: str, name: str) -> None:
    content, says = JSON[name]
    (job.out / "POPE" / stage / "result.json").write_bytes(content)
    result = judge_cell(job.evidence())
    assert (result.status, result.where) == (Status.INVALID, f"llava/tf-4.37/POPE/{stage}/result.json:1")
    assert result.reason.startswith(says)


LINES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"oops\n", "line 4: Invalid JSON"),
    "empty": (b"\n", "line 4: Invalid JSON"),
    "deep": (b"[" * 200_000 + b"\n", "line 4: "),
    "half a pair, torn": (b'{"id": "\\ud800\n', "line 4: Invalid JSON"),
    "zeros": (b"\x00" * 4096 + b"\n", "line 4: Invalid JSON"),  # what a crashed file system leaves
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("place", ["infer/predictions.jsonl", "evaluate/scores.jsonl"])
def test_whatever_stands_in_a_line_is_a_reason(job: JobFolder, place: str, name: str) -> None:
    content, says = LINES[name]
    path = job.out / "POPE" / place
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], content, *lines[4:]]))
    result = judge_cell(job.evidence())
    assert (result.status, result.where) == (Status.INVALID, f"llava/tf-4.37/POPE/{place}:4")
    assert result.reason.startswith(f"{path.name}: {says}")
    assert len(result.reason) <= 400


def test_answers_of_a_megabyte_are_answers(job: JobFolder) -> None:
    job.predict([prediction(s, "x" * 1_000_000) for s in job.ids])
    job.score([score(s, float(n < 8), parsed="x" * 1_000_000) for n, s in enumerate(job.ids)])
    assert judge_cell(job.evidence()).status is Status.OK


def test_names_with_slashes_and_300_characters(tmp_path: Path) -> None:
    model, benchmark = "../../" + "m/" * 147, "a/b c|" + "b" * 294
    job = JobFolder(tmp_path)
    job.ids = [f"{'i/' * 149}{n}" for n in range(10)]
    folder = tmp_path / slug(model) / slug(benchmark)
    os.renames(job.out / "POPE", folder)
    job.infer, job.evaluate = folder / "infer", folder / "evaluate"
    job.predict([prediction(s) for s in job.ids])
    job.score([score(s, float(n < 8)) for n, s in enumerate(job.ids)])
    metrics = [{"id": "accuracy", "value": 80.0, "n": 10}]
    for kind, more in (("infer", {}), ("evaluate", {"metrics": metrics})):
        said = stage_result(kind, benchmark, job.ids, model=model, **more)
        (folder / kind / "result.json").write_text(json.dumps(said))
    plain = job.evidence(model=model, benchmark=benchmark)
    stages = {
        kind: replace(stage, id=f"{slug(benchmark)}/{kind}", folder=folder / kind)
        for kind, stage in (("infer", plain.infer), ("evaluate", plain.evaluate))
    }
    assert judge_cell(replace(plain, **stages)).status is Status.OK  # type: ignore[arg-type]
    assert folder.resolve().is_relative_to(tmp_path)


def test_a_result_of_a_job_that_the_host_saw_die_needs_its_proof_too(job: JobFolder) -> None:
    (job.evaluate / "scores.jsonl").unlink()
    result = judge_cell(job.evidence(Outcome(status=Status.INFRA, reason="engine gone")))
    assert result.status is Status.INVALID
    assert result.reason == "scores.jsonl: missing, though the stage says that it is finished"
