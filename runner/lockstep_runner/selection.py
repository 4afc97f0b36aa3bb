"""The order in which a limit takes scored units: spread over categories, nested, the same for every model and day.

`--limit N` takes the first N of `order(rows, name)`, so those of 10 are among those of 50, and no unit is ever cut.

1. Units of one category are shuffled by SHA-256 of (salt, benchmark, unit): no clock, no seed, no machine in it.
2. The first unit of every category comes first, the largest category leading; so N >= number of categories holds all.
3. The others follow by (k + .5) / m, k-th of the m units of their category: every prefix is about proportional.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol

_SALT = "lockstep limit 1"  # fixed for good: another salt is another choice of samples
_JOIN = " + "


class Grouped(Protocol):
    """What is read of a row."""

    @property
    def group(self) -> str: ...

    @property
    def category(self) -> str: ...


def order(rows: Iterable[Grouped], name: str) -> list[str]:
    """All groups of `rows`, each once; `name` is the harness's dataset name, so that two benchmarks are not in step.

    A group whose rows are of several categories is of their combination.
    """
    strata: dict[str, list[str]] = {}
    for group, category in categories(rows).items():
        strata.setdefault(category, []).append(group)
    first: list[tuple[int, str, str]] = []
    rest: list[tuple[float, str, str]] = []
    for groups in strata.values():
        shuffled = sorted((_draw(name, group), group) for group in groups)
        for place, (draw, group) in enumerate(shuffled):
            if place == 0:
                first.append((-len(shuffled), draw, group))
            else:
                rest.append(((place + 0.5) / len(shuffled), draw, group))
    return [group for _, _, group in sorted(first)] + [group for _, _, group in sorted(rest)]


def categories(rows: Iterable[Grouped]) -> dict[str, str]:
    """Category of each group, in order of first appearance."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.group, set()).add(row.category)
    return {group: _JOIN.join(sorted(names)) for group, names in found.items()}


def _draw(name: str, group: str) -> str:
    return hashlib.sha256(f"{_SALT}\0{name}\0{group}".encode("utf-8", "surrogatepass")).hexdigest()
