"""Which records are found, which answers are taken from where they lead, and that nothing remembered of them is stale."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.planning.reuse import sources
from orchestrator.planning.taking import seed, take
from orchestrator.registry.schema import BenchmarkEntry
from tests.unit.made_records import (
    ACCURACY,
    DIGEST,
    conditions,
    failure,
    metric,
    prediction,
    record,
    versions,
)
from tests.unit.test_reuse import CELL, FixedContent, finished, ids, killed, known_in, looked_up


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"environment": "e" * 64}, f"environment {DIGEST[:12]} → eeeeeeeeeeee"),
        ({"environment": None}, f"environment {DIGEST[:12]} → not known yet"),
        ({"adapter": "hf 2"}, "adapter hf 1 → hf 2"),
        ({"generation": '{"max_new_tokens":256,"seed":0}'}, "generation max_new_tokens 128 → 256"),
        ({"data": "c" * 64}, "data dddddddddddd → cccccccccccc"),
        ({"model": '{"content":"n"}'}, "model content m → n"),
    ],
)
def test_a_changed_part_takes_no_answer_and_is_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    finished(tmp_path)
    seen = looked_up(known_in(tmp_path), **changes)
    assert (seen.reuse.answered, seen.why) == (0, why)


def test_fresh_takes_nothing(tmp_path: Path) -> None:
    finished(tmp_path)
    seen = looked_up(known_in(tmp_path), fresh=True)
    assert (seen.reuse.answered, seen.why) == (0, "fresh")


def test_of_a_killed_run_every_whole_valid_line_is_taken(tmp_path: Path) -> None:
    rows = [
        prediction("s0"),
        prediction("s1", None, error=failure()),
        prediction("s2"),
        prediction("s2"),
        prediction("alien"),
    ]
    torn = json.dumps(prediction("s3"))[:40]
    run = killed(tmp_path, rows, tail=torn)
    known = known_in(tmp_path)
    seen = looked_up(known)
    assert (seen.reuse.answered, seen.why) == (2, f"8 to answer, 2 from {run.root.name}")
    taken = take(sources(seen, known, fresh=False), seen.identity, ids(10))
    assert set(taken.lines) == {"s0", "s2"}
    seed(tmp_path / "infer", taken)
    kept = [json.loads(line) for line in (tmp_path / "infer" / "predictions.jsonl").read_text().splitlines()]
    assert kept == [prediction("s0"), prediction("s2")]
    assert json.loads((tmp_path / "infer" / "conditions.json").read_text()).keys() == {rows[0]["conditions"]}


@pytest.mark.parametrize(
    "changes",
    [{"versions": versions(environment_digest="sha256:" + "0" * 64)}, {"adapter": "hf 0"}],
    ids=["made in another environment", "made by another adapter"],
)
def test_answers_whose_own_conditions_say_otherwise_are_not_taken(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = killed(tmp_path, [prediction("s0")])
    infer = run.root / record().stages[0].path
    (infer / "conditions.json").write_text(json.dumps({prediction("s0")["conditions"]: conditions(**changes)}))
    assert looked_up(known_in(tmp_path)).reuse.answered == 0


def test_the_newest_answer_counts_and_older_runs_fill_up(tmp_path: Path) -> None:
    old = killed(tmp_path, [prediction("s0", "old"), prediction("s1", "old")], name="20261118-0200")
    new = killed(tmp_path, [prediction("s0", "new")], name="20261119-0200")
    known = known_in(tmp_path)
    seen = looked_up(known)
    taken = take(sources(seen, known, fresh=False), seen.identity, ids(10))
    assert {name: json.loads(line)["answer"] for name, line in taken.lines.items()} == {"s0": "new", "s1": "old"}
    assert seen.why == f"8 to answer, 2 from {new.root.name}, {old.root.name}"


def test_a_cell_changed_after_it_was_judged_is_not_reused_whole(tmp_path: Path) -> None:
    run = finished(tmp_path)
    path = run.root / record().stages[1].path / "scores.jsonl"
    path.write_text(path.read_text().replace("1.0", "0.0", 1))
    seen = looked_up(known_in(tmp_path))
    assert (seen.reuse.whole, seen.missing) == ("", 0)


def test_a_link_in_the_place_of_predictions_is_not_followed(tmp_path: Path) -> None:
    run = killed(tmp_path, [prediction("s0")])
    path = run.root / record().stages[0].path / "predictions.jsonl"
    path.rename(tmp_path / "elsewhere.jsonl")
    path.symlink_to(tmp_path / "elsewhere.jsonl")
    assert looked_up(known_in(tmp_path)).reuse.answered == 0


def test_a_run_moved_elsewhere_is_used_from_there(tmp_path: Path) -> None:
    run = finished(tmp_path / "there")
    (tmp_path / "here").mkdir()
    run.root.rename(tmp_path / "here" / "renamed")
    assert looked_up(known_in(tmp_path / "here")).reuse.whole == "renamed"


def test_records_of_another_format_are_said_and_not_used(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (path,) = run.records.glob("*/*.json")
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    known = known_in(tmp_path)
    assert looked_up(known).why == "new"
    assert "format 1 is older than this Lockstep's 2" in known.unread[0]


def test_the_latest_link_is_not_a_second_run(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (tmp_path / "latest").symlink_to(run.root.name)
    assert len(known_in(tmp_path).by_cell[CELL.model, CELL.benchmark, CELL.environment]) == 1
    assert known_in(tmp_path, but=run).by_cell == {}


@pytest.mark.parametrize(
    "changes",
    [{"metric": ACCURACY.model_copy(update={"max": 1})}, {"metric": ACCURACY.model_copy(update={"id": "f1"})}],
    ids=["another scale", "another metric"],
)
def test_a_number_that_would_mean_another_thing_today_is_not_reused_whole(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path)
    entry = BenchmarkEntry(type="yes_no", **changes)
    monkeypatch.setattr(FixedContent, "registry", SimpleNamespace(benchmarks={"POPE": entry}))
    seen = looked_up(known_in(tmp_path))
    assert (seen.reuse.whole, seen.missing) == ("", 0)


def test_more_failed_samples_than_are_tolerated_today_are_not_reused(tmp_path: Path) -> None:
    finished(tmp_path, metrics=[metric(75.0, n=8)], n_failed=2, max_failed_samples=20)
    assert looked_up(known_in(tmp_path)).reuse.whole == ""


def test_what_is_remembered_of_folders_is_forgotten_when_they_change(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (row,) = run.records.iterdir()
    os.utime(row, (1_700_000_000, 1_700_000_000))
    assert len(known_in(tmp_path).by_prediction) == 1
    (path,) = row.glob("*.json")
    content = path.read_text()
    path.unlink()
    assert known_in(tmp_path).by_prediction == {}
    path.write_text(content)
    (tmp_path.parent / f"{tmp_path.name}.sqlite").write_bytes(
        b"not a database, and larger than a header of one is" * 20
    )
    assert len(known_in(tmp_path).by_prediction) == 1
