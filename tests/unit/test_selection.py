"""The order of a limit: a permutation, nested, spread over categories, the same everywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from lockstep_runner.selection import categories, order


@dataclass(frozen=True)
class Row:
    group: str
    category: str


THE_ORDER = ["3", "2", "1", "4", "7", "10", "11", "8", "9", "0", "5", "6"]
ROWS = st.lists(st.builds(Row, group=st.text("abcdefgh", min_size=1, max_size=3), category=st.sampled_from("uvwxyz")))


@given(ROWS)
def test_every_group_once(rows: list[Row]) -> None:
    found = order(rows, "POPE")
    assert len(found) == len(set(found))
    assert set(found) == {row.group for row in rows}


@given(ROWS, st.randoms(use_true_random=False))
def test_it_depends_on_no_order_of_rows(rows: list[Row], draw: object) -> None:
    shuffled = list(rows)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    assert order(shuffled, "POPE") == order(rows, "POPE")


@given(ROWS)
def test_a_prefix_as_long_as_there_are_categories_holds_all(rows: list[Row]) -> None:
    of = categories(rows)
    found = order(rows, "POPE")
    for length in range(len(set(of.values())), len(found) + 1):
        assert {of[group] for group in found[:length]} == set(of.values())


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 200))
def test_every_prefix_is_about_proportional(sizes: list[int], limit: int) -> None:
    rows = [Row(f"{place}-{number}", str(place)) for place, size in enumerate(sizes) for number in range(size)]
    of = categories(rows)
    found = order(rows, "x")[:limit]
    here = Counter(of[group] for group in found)
    for place, size in enumerate(sizes):
        # one of each category comes first, the rest by share: never more than that far from the exact part
        assert abs(here[str(place)] - len(found) * size / len(rows)) <= len(sizes)


def test_a_group_of_several_categories_is_of_their_combination() -> None:
    rows = [Row("a", "x"), Row("a", "y"), Row("b", "y"), Row("a", "x")]
    assert categories(rows) == {"a": "x + y", "b": "y"}


def test_the_choice_never_changes() -> None:
    """Of another choice every earlier run's samples would be missing; it is part of what a limit means."""
    rows = [Row(str(number), "even" if number % 2 == 0 else "odd") for number in range(12)]
    assert order(rows, "POPE") == THE_ORDER
    assert order(rows, "MME") != THE_ORDER


def test_the_largest_category_leads() -> None:
    rows = [Row(f"r{number}", "rare" if number == 0 else "common") for number in range(9)]
    assert order(rows, "x")[1] == "r0"
