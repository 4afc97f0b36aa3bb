"""Registries for single faults: the real environments, models that need no weights, and copies of the demo's data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.layout import PROJECT

POPE = PROJECT / "demo" / "data" / "demo_pope.tsv"
REPLAY = PROJECT / "demo" / "data" / "replay_pope.jsonl"


def benchmark(file: Path, **changes: Any) -> dict[str, Any]:
    """A yes/no benchmark in the file's rows."""
    metric = {"id": "f1", "unit": "%", "max": 100}
    return {"dataset": "POPE", "type": "yes_no", "file": str(file), "metric": metric, **changes}


def guess(**changes: Any) -> dict[str, Any]:
    """A model that answers at once and loads nothing."""
    return {"kind": "random-choice", "environments": ["tf-4.37"], "default": True, **changes}


def write(folder: Path, *, models: dict[str, Any], benchmarks: dict[str, Any], **more: Any) -> Path:
    """registry.yaml in `folder`. JSON is YAML."""
    content = {
        "include": {str(PROJECT / "registry.yaml"): ["environments"]},
        "models": models,
        "benchmarks": benchmarks,
        "run": {"shm_gb": 0.1, "tmp_gb": 1},
        **more,
    }
    path = folder / "registry.yaml"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def pope(folder: Path, name: str, rows: slice = slice(12)) -> Path:
    """The first rows of the demo's POPE file, all with a picture of their own, as a new file."""
    header, *lines = POPE.read_text(encoding="utf-8").splitlines()
    own = [line for line in lines if len(line.rsplit("\t", 1)[1]) > 64]
    path = folder / f"{name}.tsv"
    path.write_text("\n".join([header, *own[rows]]) + "\n", encoding="utf-8")
    return path
