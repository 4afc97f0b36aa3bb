"""Chance level: one of the choices, drawn by SHA-256 of (seed, benchmark, sample), the same on every machine and after any resume.

Free text has no choices: there the baseline answers an empty string.
"""

from __future__ import annotations

import hashlib

from lockstep_runner.adapters import Part, Sample
from lockstep_runner.contract import Model

VERSION = "1"


def load(model: Model) -> RandomChoice:
    return RandomChoice(model.seed)


class RandomChoice:
    """Draws without looking at the question."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def prompt(self, sample: Sample) -> list[Part]:
        return []

    def answer(self, parts: list[Part], sample: Sample) -> str:
        choices = sample.benchmark.choices(sample.id)
        if not choices:
            return ""
        drawn = hashlib.sha256(
            f"{self._seed}\0{sample.benchmark_name}\0{sample.id}".encode("utf-8", "surrogatepass")
        ).digest()
        return choices[int.from_bytes(drawn[:8], "big") % len(choices)]
