"""The registry's word for it: a metric that is a `proportion` or a `mean` is the mean of its units' scores, times its scale.

The host checks every such number against its units, and tells bounds from them where samples failed.
"""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

import yaml
from kit_cases import CASES, ROOT, Case, quiet

setUpModule = quiet
WRONG = "something else"


def primaries(path: Path) -> dict[str, dict[str, Any]]:
    """Dataset → primary metric, of all benchmarks that a small one is made for."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["benchmarks"]
    found = {entry.get("dataset", name): entry["metric"] for name, entry in entries.items()}
    return {name: metric for name, metric in found.items() if name in CASES}


class Means(unittest.TestCase):
    """Most answers right, some wrong; also where the first unit failed."""

    def check(self, dataset: str, metric: dict[str, Any]) -> None:
        case = Case(dataset)
        said = {
            row.id: case.benchmark.references(row.id)[0] if number % 5 != 1 else WRONG
            for number, row in enumerate(case.benchmark.rows)
        }
        first = case.benchmark.rows[0].id
        failing = [set(), {first}] if dataset != "NaturalBenchDataset" else [set()]  # the kit wants all or nothing
        for failed in failing:
            answers = {name: text for name, text in said.items() if name not in failed}
            scored = case.score(answers, failed=failed)
            scores = [line["score"] for line in scored.scores if line["score"] is not None]
            value = next(one for one in scored.metrics if one["id"] == metric["id"])
            self.assertEqual(len(scores), value["n"])
            mean = metric["max"] * sum(scores) / len(scores)
            if metric.get("mean") or metric.get("proportion"):
                self.assertAlmostEqual(value["value"], mean, delta=1e-9 * metric["max"])
                self.assertNotIn(value["value"], (0.0, float(metric["max"])))
                self.assertTrue(not metric.get("proportion") or set(scores) <= {0.0, 1.0})

    def test_means_are_means(self) -> None:
        flagged = 0
        for name, metric in primaries(ROOT / "registry.yaml").items():
            with self.subTest(dataset=name):
                self.check(name, metric)
            flagged += bool(metric.get("mean") or metric.get("proportion"))
        self.assertGreaterEqual(flagged, 9)


if __name__ == "__main__":
    unittest.main()
