"""What earlier runs left is taken sample by sample or whole, only under the same identity, and a plan says why it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.executors.protocol import Status
from orchestrator.layout import RunLayout
from orchestrator.planning.identity import Identity, prediction_identity, samples_sha256, score_identity
from orchestrator.planning.matrix import Cell
from orchestrator.planning.parts import Content, changed
from orchestrator.planning.plan import Chosen, Plan, PlannedCell
from orchestrator.planning.reuse import is_same, sources, with_reuse
from orchestrator.planning.taking import copy_cell, take
from orchestrator.records.known import Known, read_known, read_own
from orchestrator.records.record import Record
from orchestrator.registry.schema import BenchmarkEntry
from tests.unit.made_records import (
    ACCURACY,
    DIGEST,
    a_run,
    conditions,
    failure,
    prediction,
    record,
    unscored,
)

CELL = Cell(model="llava", benchmark="POPE", environment="tf-4.37")
PARTS = {
    "environment": DIGEST,
    "adapter": "hf 1",
    "model": '{"content":"m"}',
    "data": "d" * 64,
    "benchmark": '{"dataset":"POPE","type":"yes_no"}',
    "generation": '{"max_new_tokens":128,"seed":0}',
    "scorer": "vlmevalkit 1, lockstep 1",
    "judge": "exact_matching",
    "scoring": '{"group_by":null}',
}


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"s{number}" for number in range(count))


def known_in(outputs: Path, *, but: RunLayout | None = None) -> Known:
    return read_known(outputs, outputs.parent / f"{outputs.name}.sqlite", but=but)


class FixedContent:
    """Identities of one cell, made of `PARTS` with changes."""

    registry = SimpleNamespace(benchmarks={"POPE": BenchmarkEntry(type="yes_no", metric=ACCURACY)})

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
    content = cast(Content, FixedContent(**changes))
    return with_reuse(plan, content, known, fresh=fresh, own=own).cells[0]


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
    seen = looked_up(known_in(tmp_path))
    assert (seen.reuse.whole, seen.missing, seen.why) == (run.root.name, 0, f"reused from {run.root.name}")
    (done,) = sources(seen, known_in(tmp_path), fresh=False)
    copies = {kind: tmp_path / "copy" / kind for kind in ("infer", "evaluate")}
    copy_cell(done, copies)
    for kind, folder in copies.items():
        original = done.folder(kind)  # type: ignore[arg-type]
        assert original
        for path in folder.iterdir():
            assert path.read_bytes() == (original / path.name).read_bytes()
    assert {path.name for path in copies["infer"].iterdir()} == {"predictions.jsonl", "conditions.json", "result.json"}


def test_stages_that_ended_well_are_no_finished_cell_where_nobody_judged_them_or_the_judgement_was_another(
    tmp_path: Path,
) -> None:
    """Only the killed run itself takes them for one; another takes the answers, and so does whoever finds it failed."""
    run = finished(tmp_path)
    (path,) = run.root.glob("records/*/*.json")
    content = json.loads(path.read_bytes()) | {"metrics": [], "artefacts": {}, "reason": "for a reason"}
    path.write_text(json.dumps({**content, "status": "infra", "finished": None}))
    seen, own = (
        looked_up(known_in(tmp_path)),
        looked_up(Known(), own=read_own(run)),
    )
    assert (seen.reuse.whole, seen.missing, own.reuse.whole, own.missing) == ("", 0, run.root.name, 0)
    path.write_text(json.dumps({**content, "status": "failed"}))
    again = looked_up(Known(), own=read_own(run))
    assert (again.reuse.whole, again.reuse.answered) == ("", 10)


def test_the_same_weights_under_another_name_have_answers_to_share_and_no_cells(tmp_path: Path) -> None:
    run = finished(tmp_path)
    other = replace(planned(), cell=replace(CELL, model="of-another-name"))
    known, content = known_in(tmp_path), cast(Content, FixedContent())
    (done,) = sources(looked_up(known), known, fresh=False)
    seen = with_reuse(Plan(cells=(other,)), content, known, fresh=False).cells[0]
    assert (seen.reuse.whole, seen.reuse.answered, seen.reuse.runs) == ("", 10, (run.root.name,))
    assert not is_same(seen, done)


def test_a_higher_limit_asks_only_for_what_is_new(tmp_path: Path) -> None:
    run = finished(tmp_path)
    seen = looked_up(known_in(tmp_path), 50)
    assert (seen.reuse.answered, seen.missing, seen.reuse.whole) == (10, 40, "")
    assert seen.why == f"40 to answer, 10 from {run.root.name}"


def test_another_scorer_keeps_the_answers(tmp_path: Path) -> None:
    run = finished(tmp_path)
    seen = looked_up(known_in(tmp_path), scorer="vlmevalkit 1, lockstep 2")
    assert (seen.missing, seen.reuse.whole) == (0, "")
    said = "scorer vlmevalkit 1, lockstep 1 → vlmevalkit 1, lockstep 2"
    assert seen.why == f"scored anew ({said}), answers from {run.root.name}"


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
    assert looked_up(known_in(tmp_path)).why == "again: infra in 20261120-0300"


def test_own_answers_come_first_in_a_run_that_is_resumed(tmp_path: Path) -> None:
    killed(tmp_path, [prediction("s0", "other")], name="20261121-0900")
    mine = killed(tmp_path, [prediction("s0", "own")])
    own = read_own(mine)
    known = known_in(tmp_path, but=mine)
    seen = looked_up(known, own=own)
    taken = take(sources(seen, known, fresh=True, own=own), seen.identity, ids(10))
    assert json.loads(taken.lines["s0"])["answer"] == "own"
    assert replace(seen, why="").reuse.answered == 1


def test_answers_changed_after_they_were_judged_are_not_taken(tmp_path: Path) -> None:
    run = finished(tmp_path)
    path = run.root / record().stages[0].path / "predictions.jsonl"
    path.write_text(path.read_text().replace('"Yes"', '"No"'))
    seen = looked_up(known_in(tmp_path))
    assert (seen.reuse.answered, seen.why) == (0, f"again: its files changed since they were judged in {run.root.name}")


def test_of_two_different_answers_to_one_sample_none_is_taken(tmp_path: Path) -> None:
    killed(tmp_path, [prediction("s0", "Yes"), prediction("s1"), prediction("s0", "No")])
    known = known_in(tmp_path)
    seen = looked_up(known)
    assert set(take(sources(seen, known, fresh=False), seen.identity, ids(10)).lines) == {"s1"}
