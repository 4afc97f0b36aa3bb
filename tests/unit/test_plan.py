"""Limits choose whole groups, spread and nested; what cannot carry its scale is skipped with what it needs."""

from __future__ import annotations

import pytest

from orchestrator.errors import Exit
from orchestrator.inputs.weights import Located
from orchestrator.job import BenchmarkIndex, IndexedSample, MetricSpec
from orchestrator.planning.plan import Facts, Limit, choose, make_plan, too_small
from orchestrator.registry.schema import BenchmarkEntry
from tests.unit.registries import small_registry

METRIC = MetricSpec(id="accuracy", unit="%", max=100, proportion=True)


def paired_index() -> BenchmarkIndex:
    """Six images of two questions each, in three categories; the order is not the file's."""
    samples = [
        IndexedSample(id=f"{image}-{q}", group=image, cluster=image, category=category)
        for image, category in zip("abcdef", "xxxxyz", strict=True)
        for q in (1, 2)
    ]
    return BenchmarkIndex(
        benchmark="B",
        dataset="B",
        data_sha256="d",
        content_sha256="c",
        made_by="test",
        samples=samples,
        order=list("caefbd"),
    )


def test_groups_are_never_cut_and_choices_are_nested() -> None:
    index = paired_index()
    three = choose(index, Limit(count=3))
    assert three.ids == ("a-1", "a-2", "c-1", "c-2", "e-1", "e-2")
    assert not three.whole
    assert set(choose(index, Limit(count=2)).ids) < set(three.ids)
    assert choose(index, Limit()).whole
    assert choose(index, Limit(count=99)).whole


def test_head_takes_the_first_groups_of_the_file() -> None:
    assert choose(paired_index(), Limit(count=2, mode="head")).groups == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "count", "says"),
    [
        ({"needs": "every category"}, 3, "limit 3 cannot hold every category (needs 4)"),
        ({"needs": "every category"}, 4, ""),
        ({"min_limit": 5}, 4, "limit 4 is too small for its scale (needs 5)"),
        ({"min_limit": 500}, None, ""),
        ({"min_limit": 500}, 6, ""),
        ({}, 1, ""),
    ],
)
def test_a_limit_that_cannot_carry_the_scale_says_what_it_needs(
    fields: dict[str, object], count: int | None, says: str
) -> None:
    entry = BenchmarkEntry.model_validate({"type": "mme", "metric": METRIC, **fields})
    assert too_small(entry, paired_index(), Limit(count=count)) == says


def facts(**changes: object) -> Facts:
    values: dict[str, object] = {
        "models": {"one": Located(), "other": Located()},
        "data": {"B": Located(identity={"data": "d"}), "C": Located(identity={"data": "d"})},
        "indexes": {"B": paired_index()},
    }
    return Facts(**{**values, **changes})  # type: ignore[arg-type]


def planned(
    known: Facts, *, named: frozenset[str] = frozenset(), limit: int | None = 2
) -> dict[tuple[str, str], object]:
    registry, cells = small_registry()
    plan = make_plan(registry, cells, named=named, facts=known, limit=Limit(count=limit))
    return {(c.cell.model, c.cell.benchmark): (c.skipped, c.code) for c in plan.cells}


def test_cells_without_an_index_run_and_are_counted_later() -> None:
    registry, cells = small_registry()
    plan = make_plan(registry, cells, named=frozenset(), facts=facts(), limit=Limit(count=2))
    assert {c.cell.benchmark for c in plan.to_index} == {"C"}
    assert plan.codes() == [Exit.OK] * len(cells)


def test_what_does_not_fit_is_a_failure_only_when_it_was_named() -> None:
    known = facts(hardware=lambda model, environment: "needs 1 GPU, none here" if model == "one" else None)
    assert planned(known)["one", "B"] == ("needs 1 GPU, none here", Exit.OK)
    assert planned(known, named=frozenset({"one"}))["one", "B"] == ("needs 1 GPU, none here", Exit.UNAVAILABLE)
    assert planned(known)["other", "B"] == ("", Exit.OK)


def test_missing_weights_and_data_are_said_per_cell() -> None:
    known = facts(models={"one": Located(missing=("no weights",)), "other": Located()}, data=facts().data)
    assert planned(known)["one", "B"] == ("no weights", Exit.UNAVAILABLE)
    known = facts(data={"B": Located(missing=("no file",)), "C": Located(identity={"data": "d"})})
    assert planned(known)["other", "B"] == ("no file", Exit.UNAVAILABLE)


def test_all_skipped_is_nothing() -> None:
    registry, cells = small_registry()
    known = facts(hardware=lambda model, environment: "too big")
    plan = make_plan(registry, cells, named=frozenset(), facts=known, limit=Limit())
    assert not plan.running
    assert Exit.NOTHING in plan.codes()
