"""A small registry for tests, through the real loader."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator.planning.matrix import Cell
from orchestrator.registry.load import Registry, load

SMALL = """
environments:
  tf-x: {transformers: 4.37.2}
  tf-y: {transformers: 4.42.4}
models:
  one: {environments: [tf-x], kind: random-choice, default: true}
  other: {environments: [tf-x, tf-y], kind: random-choice, default: true}
benchmarks:
  B: {dataset: POPE, type: yes_no, file: b.tsv, metric: {id: accuracy, unit: "%", max: 100}}
  C: {type: caption, scorer: bleu, evaluate_in: tf-y, file: c.tsv, metric: {id: bleu, unit: BLEU, max: 100}}
"""


def small_registry() -> tuple[Registry, list[Cell]]:
    """The registry above and all its cells in tf-x."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.yaml"
        path.write_text(SMALL)
        registry = load(path)
    return registry, [Cell(model=m, environment="tf-x", benchmark=b) for m in ("one", "other") for b in ("B", "C")]
