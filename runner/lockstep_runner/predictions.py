"""predictions.jsonl: a line for each sample, exactly one of `answer` and `error`; what a later job takes over."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lockstep_runner.adapters import Part
from lockstep_runner.conditions import read_conditions
from lockstep_runner.files import DataError, dumps, read_lines, write_lines

Line = dict[str, Any]


def path_in(folder: Path) -> Path:
    return folder / "predictions.jsonl"


def read_predictions(folder: Path, wanted: Collection[str]) -> dict[str, Line]:
    """The lines of `wanted` samples by id; of a sample that stands there twice with the same answer the first.

    Raises DataError naming the line for two different answers, or for a line that is no prediction.
    """
    path = path_in(folder)
    lines: dict[str, Line] = {}
    for number, line in read_lines(path):
        answer, error = line.get("answer"), line.get("error")
        wrong = (error is None) is (answer is None) or not isinstance(answer or "", str)
        if wrong or not isinstance(line.get("id"), str):
            raise DataError(f"{path}:{number}: not a prediction: needs `id` and one of `answer` and `error`")
        first = lines.setdefault(line["id"], line)
        if (first["answer"], bool(first["error"])) != (answer, bool(error)):
            raise DataError(f"{path}:{number}: a second, different answer for sample {line['id']!r}")
    known = set(wanted)
    return {sample: line for sample, line in lines.items() if sample in known}


def take_over(folder: Path, wanted: Collection[str]) -> dict[str, Line]:
    """The answers that an earlier job left for `wanted` samples.

    Failed, torn and foreign lines, and those that cannot say under what conditions they were made, are taken out of the
    file, which is replaced in one step: a crash here loses nothing either. Raises DataError.
    """
    known = read_conditions(folder)
    lines = read_predictions(folder, wanted)
    kept = {sample: line for sample, line in lines.items() if line["error"] is None and line.get("conditions") in known}
    path = path_in(folder)
    if path.is_file():
        text = [dumps(line) for line in kept.values()]
        if "".join(line + "\n" for line in text).encode("ascii") != path.read_bytes():
            write_lines(path, text)
    return kept


def prompt_digest(parts: list[Part]) -> str | None:
    """SHA-256 over texts and the content of files, in order; None for a model that sees no prompt."""
    if not parts:
        return None
    seen = [
        [part["type"], part["value"] if part["type"] == "text" else _file_digest(Path(part["value"])), part.get("role")]
        for part in parts
    ]
    return hashlib.sha256(dumps(seen).encode("ascii")).hexdigest()


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
