"""The best constant answer: what the benchmark's own references say most often. It reads them: a baseline only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from lockstep_runner.adapters import Part, Sample
from lockstep_runner.contract import Model

if TYPE_CHECKING:
    from lockstep_runner.benchmark import Benchmark

VERSION = "1"


def load(model: Model) -> MostFrequent:
    return MostFrequent()


class MostFrequent:
    """One answer a benchmark, over all of its rows, whatever the limit."""

    def __init__(self) -> None:
        self._constants: dict[int, tuple[Benchmark, str]] = {}

    def prompt(self, sample: Sample) -> list[Part]:
        return []

    def answer(self, parts: list[Part], sample: Sample) -> str:
        benchmark = sample.benchmark
        if id(benchmark) not in self._constants:
            self._constants = {id(benchmark): (benchmark, _most_frequent(benchmark))}
        return self._constants[id(benchmark)][1]


def _most_frequent(benchmark: Benchmark) -> str:
    """Each row counts a reference once; the alphabetically first of equally frequent ones."""
    counts = Counter(text for row in benchmark.rows for text in set(benchmark.references(row.id)))
    return min(counts, key=lambda text: (-counts[text], text), default="")
