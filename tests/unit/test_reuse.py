"""What earlier runs left is taken sample by sample or whole, only under the same identity, and a plan says why it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors.protocol import Status
from orchestrator.identity import Identity, prediction_identity, samples_sha256, score_identity
from orchestrator.known import Known, read_known, read_own
from orchestrator.layout import RunLayout
from orchestrator.matrix import Cell
from orchestrator.parts import changed
from orchestrator.plan import Chosen, Plan, PlannedCell
from orchestrator.records import Record
from orchestrator.reuse import copy_cell, seed, sources, take, with_reuse
from tests.unit.made_records import DIGEST, a_run, conditions, failure, prediction, record, unscored, versions

CELL = Cell(model="llava", benchmark="POPE", environment="tf-4.37")
PARTS = {
    "environment": DIGEST,
    "adapter": "hf 1",
    "model": '{"content":"m"}',
    "data": "d" * 64,
    "generation": '{"max_new_tokens":128,"seed":0}',
    "scorer": "vlmevalkit 1, lockstep 1",
    "judge": "exact_matching",
}


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"s{number}" for number in range(count))


class FixedContent:
    """Identities of one cell, made of `PARTS` with changes."""

    def __init__(self, **changes: str | None) -> None:
        self._parts = {name: value for name, value in (PARTS | changes).items() if value is not None}

    def identity(self, cell: Cell, chosen: Chosen | None) -> Identity:
        parts = self._parts | ({"samples": samples_sha256(chosen.ids)} if chosen else {})
        return Identity(prediction=prediction_identity(parts), score=score_identity(parts), parts=parts)


def planned(count: int = 10) -> PlannedCell:
    return PlannedCell(cell=CELL, chosen=Chosen(groups=ids(count), ids=ids(count), whole=False))


def looked_up(
    known: Known, count: int = 10, *, fresh: bool = False, own: Known | None = None, **changes: Any
) -> PlannedCell:
    plan = Plan(cells=(planned(count),))
    return with_reuse(plan, FixedContent(**changes), known, fresh=fresh, own=own).cells[0]  # type: ignore[arg-type]


def finished(folder: Path, name: str = "20261120-0200", **changes: Any) -> RunLayout:
    """A run with one finished cell of ten samples under the identity of `PARTS`."""
    made = record(run_id=name, **changes)
    identity = FixedContent().identity(CELL, planned(made.metrics[0].n).chosen)
    return _placed(folder, name, made.model_copy(update={"identity": identity}))


def _placed(folder: Path, name: str, made: Record) -> RunLayout:
    """The run of that name, and nothing else, in the folder of outputs."""
    run = a_run(folder.parent / f"{folder.name}-made", [made])
    folder.mkdir(exist_ok=True)
    run.root.rename(folder / name)
    return RunLayout(root=folder / name)


def killed(folder: Path, rows: list[dict[str, Any]], name: str = "20261120-0300", tail: str = "") -> RunLayout:
    """A run that was killed in the middle of its cell."""
    identity = FixedContent().identity(CELL, planned().chosen)
    run = _placed(folder, name, unscored(Status.INFRA, "not finished", run_id=name, identity=identity))
    infer = run.root / record().stages[0].path
    infer.mkdir(parents=True)
    (infer / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")
    (infer / "conditions.json").write_text(
        json.dumps({rows[0]["conditions"]: conditions(run_id=name)}), encoding="utf-8"
    )
    return run


def test_a_finished_cell_is_reused_whole_and_its_copy_is_the_same(tmp_path: Path) -> None:
    run = finished(tmp_path)
    seen = looked_up(read_known(tmp_path))
    assert (seen.reuse.whole, seen.missing, seen.why) == (run.root.name, 0, f"reused from {run.root.name}")
    (done,) = sources(seen, read_known(tmp_path), fresh=False)
    copies = {kind: tmp_path / "copy" / kind for kind in ("infer", "evaluate")}
    copy_cell(done, copies)
    for kind, folder in copies.items():
        original = done.folder(kind)  # type: ignore[arg-type]
        assert original
        for path in folder.iterdir():
            assert path.read_bytes() == (original / path.name).read_bytes()
    assert {path.name for path in copies["infer"].iterdir()} == {"predictions.jsonl", "conditions.json", "result.json"}


def test_a_higher_limit_asks_only_for_what_is_new(tmp_path: Path) -> None:
    run = finished(tmp_path)
    seen = looked_up(read_known(tmp_path), 50)
    assert (seen.reuse.answered, seen.missing, seen.reuse.whole) == (10, 40, "")
    assert seen.why == f"40 to answer, 10 from {run.root.name}"


def test_another_scorer_keeps_the_answers(tmp_path: Path) -> None:
    run = finished(tmp_path)
    seen = looked_up(read_known(tmp_path), scorer="vlmevalkit 1, lockstep 2")
    assert (seen.missing, seen.reuse.whole) == (0, "")
    said = "scorer vlmevalkit 1, lockstep 1 → vlmevalkit 1, lockstep 2"
    assert seen.why == f"scored anew ({said}), answers from {run.root.name}"


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
    seen = looked_up(read_known(tmp_path), **changes)
    assert (seen.reuse.answered, seen.why) == (0, why)


def test_fresh_takes_nothing(tmp_path: Path) -> None:
    finished(tmp_path)
    seen = looked_up(read_known(tmp_path), fresh=True)
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
    known = read_known(tmp_path)
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
    assert looked_up(read_known(tmp_path)).reuse.answered == 0


def test_the_newest_answer_counts_and_older_runs_fill_up(tmp_path: Path) -> None:
    old = killed(tmp_path, [prediction("s0", "old"), prediction("s1", "old")], name="20261118-0200")
    new = killed(tmp_path, [prediction("s0", "new")], name="20261119-0200")
    known = read_known(tmp_path)
    seen = looked_up(known)
    taken = take(sources(seen, known, fresh=False), seen.identity, ids(10))
    assert {name: json.loads(line)["answer"] for name, line in taken.lines.items()} == {"s0": "new", "s1": "old"}
    assert seen.why == f"8 to answer, 2 from {new.root.name}, {old.root.name}"


def test_a_cell_changed_after_it_was_judged_is_not_reused_whole(tmp_path: Path) -> None:
    run = finished(tmp_path)
    path = run.root / record().stages[1].path / "scores.jsonl"
    path.write_text(path.read_text().replace("1.0", "0.0", 1))
    seen = looked_up(read_known(tmp_path))
    assert (seen.reuse.whole, seen.missing) == ("", 0)


def test_a_link_in_the_place_of_predictions_is_not_followed(tmp_path: Path) -> None:
    run = killed(tmp_path, [prediction("s0")])
    path = run.root / record().stages[0].path / "predictions.jsonl"
    path.rename(tmp_path / "elsewhere.jsonl")
    path.symlink_to(tmp_path / "elsewhere.jsonl")
    assert looked_up(read_known(tmp_path)).reuse.answered == 0


def test_a_run_moved_elsewhere_is_used_from_there(tmp_path: Path) -> None:
    run = finished(tmp_path / "there")
    (tmp_path / "here").mkdir()
    run.root.rename(tmp_path / "here" / "renamed")
    assert looked_up(read_known(tmp_path / "here")).reuse.whole == "renamed"


def test_records_of_another_format_are_said_and_not_used(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (path,) = run.records.glob("*/*.json")
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    known = read_known(tmp_path)
    assert looked_up(known).why == "new"
    assert "format 1 is older than this Lockstep's 2" in known.unread[0]


def test_the_latest_link_is_not_a_second_run(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (tmp_path / "latest").symlink_to(run.root.name)
    assert len(read_known(tmp_path).by_cell[CELL.model, CELL.benchmark, CELL.environment]) == 1
    assert read_known(tmp_path, but=run).by_cell == {}


def test_what_changed_is_said_in_few_words() -> None:
    assert changed(PARTS, PARTS) == ""
    old, new = (
        '{"commits":{"a/b":"' + "1" * 40 + '"},"repo":"a/b"}',
        '{"commits":{"a/b":"' + "2" * 40 + '"},"repo":"a/b"}',
    )
    said = changed({"model": old}, {"model": new})
    assert said.startswith("model commits ")
    assert len(said) < 160


def test_a_cell_that_failed_runs_again(tmp_path: Path) -> None:
    killed(tmp_path, [prediction("s0", None, error=failure())])
    assert looked_up(read_known(tmp_path)).why == "again: infra in 20261120-0300"


def test_own_answers_come_first_in_a_run_that_is_resumed(tmp_path: Path) -> None:
    killed(tmp_path, [prediction("s0", "other")], name="20261121-0900")
    mine = killed(tmp_path, [prediction("s0", "own")])
    own = read_own(mine)
    known = read_known(tmp_path, but=mine)
    seen = looked_up(known, own=own)
    taken = take(sources(seen, known, fresh=True, own=own), seen.identity, ids(10))
    assert json.loads(taken.lines["s0"])["answer"] == "own"
    assert replace(seen, why="").reuse.answered == 1
