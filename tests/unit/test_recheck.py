"""A number is shown only while the files that prove it are there and unchanged; each test harms one thing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.executors.protocol import Status
from orchestrator.layout import RunLayout
from orchestrator.records.files import read_records
from orchestrator.records.record import Record
from orchestrator.validity.recheck import artefacts_of, checked_records, recheck
from tests.unit.made_records import a_run, metric, record, unscored

INFER = "llava/tf-4.37/POPE/infer"
EVALUATE = "llava/tf-4.37/POPE/evaluate"


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    return a_run(tmp_path, [record()])


def only(run: RunLayout) -> Record:
    (found,) = read_records(run)
    return found


def test_a_record_whose_files_are_as_they_were_stands(run: RunLayout) -> None:
    assert checked_records(run) == read_records(run)
    assert only(run).metrics[0].value == 80.0


def test_moved_to_another_folder_it_still_stands(run: RunLayout, tmp_path: Path) -> None:
    moved = RunLayout(root=tmp_path / "elsewhere" / "x")
    shutil.copytree(run.root, moved.root)
    shutil.rmtree(run.root)
    assert [r.status for r in checked_records(moved)] == [Status.OK]


def test_a_cell_scored_in_another_environment_stands_too(tmp_path: Path) -> None:
    made = record(benchmark="Captions")
    infer, evaluate = made.stages
    elsewhere = evaluate.model_copy(update={"environment": "tf-4.42"})
    run = a_run(tmp_path, [made.model_copy(update={"stages": [infer, elsewhere]})])
    assert [r.status for r in checked_records(run)] == [Status.OK]


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write(" ")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (INFER, "predictions.jsonl"),
        (INFER, "conditions.json"),
        (INFER, "result.json"),
        (EVALUATE, "result.json"),
        (EVALUATE, "scores.jsonl"),
    ],
)
def test_every_file_of_the_proof_counts(run: RunLayout, place: str, name: str) -> None:
    stage = place.rsplit("/", 1)[1]
    path = run.root / place / name
    _append(path)
    (changed,) = checked_records(run)
    assert (changed.status, changed.metrics, changed.n) == (Status.INVALID, [], None)
    assert (changed.reason, changed.where) == (
        f"{stage}/{name} changed since it was judged",
        f"{place}/{name}:1",
    )
    path.unlink()
    (gone,) = checked_records(run)
    assert (gone.status, gone.metrics, gone.reason) == (Status.INVALID, [], f"{stage}/{name} is gone")
    path.symlink_to("/etc/hostname")
    (linked,) = checked_records(run)
    assert (linked.status, linked.reason) == (Status.INVALID, f"{name} is a link, not a file")
    assert only(run).status is Status.OK  # the record on disk is left as it is


def test_a_folder_that_became_a_link_is_not_followed(run: RunLayout, tmp_path: Path) -> None:
    shutil.move(run.root / INFER, tmp_path / "outside")
    (run.root / INFER).symlink_to(tmp_path / "outside")
    (found,) = checked_records(run)
    assert (found.status, found.reason) == (Status.INVALID, "infer is a link, not a folder")


def test_a_pipe_in_the_place_of_a_file_does_not_hang(run: RunLayout) -> None:
    path = run.root / EVALUATE / "scores.jsonl"
    path.unlink()
    os.mkfifo(path)
    (found,) = checked_records(run)
    assert (found.status, found.reason) == (Status.INVALID, "scores.jsonl is a named pipe, not a file")


RECORDS: dict[str, tuple[Callable[[Record], dict[str, object]], str]] = {
    "no proof listed": (
        lambda r: {"artefacts": {}},
        "the record lists no hash of infer/predictions.jsonl, so nothing proves its number",
    ),
    "one file short": (
        lambda r: {"artefacts": {p: s for p, s in r.artefacts.items() if "scores" not in p}},
        "the record lists no hash of evaluate/scores.jsonl, so nothing proves its number",
    ),
    "a file outside": (
        lambda r: {"artefacts": {**r.artefacts, "../../secret": "0" * 64}},
        "../secret is not in the run's folder",
    ),
    "no stages": (lambda r: {"stages": []}, "the record names no stages, so nothing proves its number"),
    "another number": (
        lambda r: {"metrics": [r.metrics[0].model_copy(update={"value": 90.0})]},
        "the record says accuracy 90.0, its artefacts accuracy 80.0",
    ),
    "another scale": (
        lambda r: {"metrics": [r.metrics[0].model_copy(update={"ci_high": 99.0})]},
        "the record says another scale or interval than its artefacts",
    ),
    "a number more": (
        lambda r: {"metrics": [*r.metrics, metric(1.0, id="f1", primary=False)]},
        "the record says accuracy 80.0 and f1 1.0, its artefacts accuracy 80.0",
    ),
    "a number less": (lambda r: {"metrics": []}, "result.json: no metric of this benchmark"),
    "other counts": (lambda r: {"n_unparsed": 3}, "the record says n_unparsed 3, its artefacts 0"),
    "other units expected": (lambda r: {"n_expected": 20}, "the record says n_expected 20, its artefacts 10"),
    "other samples": (
        lambda r: {"samples_sha256": "0" * 64},
        "these are not the samples that the record names",
    ),
    "other units": (lambda r: {"units_sha256": None}, "these are not the units that the record names"),
    "another model": (lambda r: {"model": "other"}, "result.json: model is llava, planned other"),
    "another version": (lambda r: {"transformers": "4.42.4"}, "result.json: transformers is 4.37.2, planned 4.42.4"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_says_more_than_its_files_has_no_number(run: RunLayout, name: str) -> None:
    change, says = RECORDS[name]
    made = only(run)
    found = recheck(run, made.model_copy(update=change(made)))
    assert (found.status, found.metrics, found.n) == (Status.INVALID, [], None)
    assert found.reason.startswith(says)


def test_files_that_were_exchanged_with_their_hashes_are_judged_anew(run: RunLayout) -> None:
    path = run.root / INFER / "predictions.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[3]]))
    made = only(run)
    found = recheck(run, made.model_copy(update={"artefacts": artefacts_of(run.root, made.stages)}))
    assert found.status is Status.INVALID
    assert found.reason == "predictions.jsonl: of 10 samples: 1 duplicate (first: s3)"
    assert found.where == f"{INFER}/predictions.jsonl:4"


def test_a_number_within_a_tolerance_is_proven_with_its_bounds(tmp_path: Path) -> None:
    run = a_run(tmp_path, [record(metrics=[metric(75.0, n=8)], n_failed=2, max_failed_samples=20)])
    (made,) = checked_records(run)
    assert (made.status, made.n, made.n_expected, made.n_failed) == (Status.OK, 8, 10, 2)
    assert (made.metrics[0].bound_low, made.metrics[0].bound_high) == (60.0, 80.0)
    path = run.root / EVALUATE / "result.json"
    said = json.loads(path.read_text())
    said["metrics"].append({"id": "f1", "value": 12.0, "n": 8})  # has no bounds, so the record did not take it
    path.write_text(json.dumps(said))
    again = made.model_copy(update={"artefacts": artefacts_of(run.root, made.stages)})
    assert recheck(run, again) == again
    bare = made.metrics[0].model_copy(update={"bound_low": None, "bound_high": None})
    found = recheck(run, again.model_copy(update={"metrics": [bare]}))
    assert found.status is Status.INVALID
    assert "accuracy is no mean over units, so it has no bounds" in found.reason


def test_what_is_not_ok_is_left_as_it_is_but_never_has_a_number(run: RunLayout) -> None:
    failed = unscored(Status.FAILED, "it broke")
    assert recheck(run, failed) is failed
    stray = failed.model_copy(update={"metrics": [metric(80.0)], "n": 10})
    assert recheck(run, stray) == failed


def test_the_tolerance_of_the_record_counts(tmp_path: Path) -> None:
    """Two of ten failed: a number where twenty per cent were tolerated, none where that was not."""
    run = a_run(tmp_path, [record(metrics=[metric(75.0, n=8)], n_failed=2, max_failed_samples=20)])
    (made,) = read_records(run)
    strict = recheck(run, made.model_copy(update={"max_failed_samples": 10}))
    assert (strict.status, strict.metrics) == (Status.INVALID, [])
