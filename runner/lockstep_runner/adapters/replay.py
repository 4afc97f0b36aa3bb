"""Answers made elsewhere: a JSONL of `{"id": …, "answer": …}`.

A line may say its `"benchmark"` (the registry's name): needed where ids repeat between benchmarks.
A predictions.jsonl of an earlier run is such a file too; its failed lines stay failed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep_runner.adapters import Part, Sample
from lockstep_runner.contract import ContractError, Model
from lockstep_runner.failures import GenerationError
from lockstep_runner.files import DataError, read_lines

VERSION = "1"


def load(model: Model) -> Replay:
    """Raises ContractError without a file, DataError naming a line that is no answer or contradicts an earlier one."""
    if model.answers is None:
        raise ContractError(f"model {model.name}: adapter replay needs `answers`, a JSONL file, in the registry")
    path = Path(model.answers)
    if not path.is_file():
        raise DataError(f"{path}: no such file of answers")
    answers: dict[tuple[str | None, str], str | None] = {}
    for number, line in read_lines(path, whole=True):
        if not isinstance(line.get("id"), str) or not isinstance(line.get("answer", 0), (str, type(None))):
            raise DataError(f'{path}:{number}: an answer is {{"id": text, "answer": text}}')
        key = (line.get("benchmark"), line["id"])
        if answers.setdefault(key, line["answer"]) != line["answer"]:
            raise DataError(f"{path}:{number}: a second, different answer for {line['id']!r}")
    return Replay(path.name, answers)


class Replay:
    """Looks answers up."""

    def __init__(self, name: str, answers: dict[tuple[str | None, str], str | None]) -> None:
        self._name = name
        self._answers = answers

    def prompt(self, sample: Sample) -> list[Part]:
        return []

    def answer(self, parts: list[Part], sample: Sample) -> Any:
        for key in ((sample.benchmark_name, sample.id), (None, sample.id)):
            answer = self._answers.get(key)
            if answer is not None:
                return answer
        raise GenerationError(f"{self._name} has no answer for sample {sample.id!r}")
