"""What the registry would say of a benchmark, worked out from VLMEvalKit's name for it and the file's header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep_runner import kit_table, rules
from lockstep_runner.files import DataError

_GROUPS = {
    "circular": "rule:circular",
    "hallusion": "rule:hallusion",
    "naturalbench": "rule:quads",
    "mme": "category,image_path",
}
_CATEGORIES = ("category", "l2-category", "split")
_UNITS = {1.0: "fraction", 100.0: "%"}


def quick_spec(dataset: str | None, data: str) -> dict[str, Any]:
    """A BenchmarkSpec. `dataset` None: the file's name without its ending. Raises DataError for a name that is none."""
    name = dataset or Path(data).stem
    try:
        kind = rules.scored_as(name)
    except DataError as error:
        said = str(error).rpartition("; ")[0]  # its last part says what to do in a registry
        taken = "" if dataset else "the name is taken from the file: "
        raise DataError(f"{said}; {taken}name another with --dataset") from error
    with Path(data).open(encoding="utf-8", errors="replace") as file:
        header = file.readline().rstrip("\r\n").split("\t")
    return {
        "name": name,
        "dataset": name,
        "type": kind,
        "data": data,
        "sha256": kit_table.sha256_of(Path(data)),
        "group_by": _GROUPS.get(kind),
        "cluster_by": None,
        "category_by": next((column for column in _CATEGORIES if column in header), None),
        "judge": "exact_matching",
        "scorer": "vlmevalkit",
        "metrics": [
            {"id": metric, "unit": _UNITS[most], "max": most}
            for metric, most in rules.TYPES[kind].metrics.items()
            if most in _UNITS and not metric.endswith("_*")
        ],
    }
