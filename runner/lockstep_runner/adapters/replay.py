"""Answers made elsewhere: a JSONL of `{"id": …, "answer": …}`.

A line may say its `"benchmark"` (the registry's name): needed where ids repeat between benchmarks. Or there is a file
for each: `{benchmark}` in the path stands for the stem of the benchmark's data file.
A predictions.jsonl of an earlier run is such a file too; its failed lines stay failed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from lockstep_runner.adapters import Part, Sample
from lockstep_runner.contract import ContractError, Model
from lockstep_runner.failures import GenerationError
from lockstep_runner.files import DataError, read_lines

VERSION = "1"
_BENCHMARK = "{benchmark}"
_Answers = Dict[Tuple[Optional[str], str], Optional[str]]


def load(model: Model) -> Replay:
    """Raises ContractError without a file, DataError naming a line that is no answer or contradicts an earlier one."""
    if model.answers is None:
        raise ContractError(f"model {model.name}: adapter replay needs `answers`, a JSONL file, in the registry")
    replay = Replay(model.answers)
    if _BENCHMARK not in model.answers:
        replay.open("")
    return replay


class Replay:
    """Looks answers up in the file of `pattern`, or of each benchmark; a file is read once."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._read: Dict[Path, _Answers] = {}

    def prompt(self, sample: Sample) -> list[Part]:
        return []

    def open(self, benchmark: str) -> Tuple[str, _Answers]:
        """The file's name and what is in it. Raises DataError."""
        path = Path(self._pattern.replace(_BENCHMARK, benchmark))
        if path not in self._read:
            self._read[path] = _read(path)
        return path.name, self._read[path]

    def answer(self, parts: list[Part], sample: Sample) -> Any:
        name, answers = self.open(sample.benchmark.path.stem)
        for key in ((sample.benchmark_name, sample.id), (None, sample.id)):
            answer = answers.get(key)
            if answer is not None:
                return answer
        raise GenerationError(f"{name} has no answer for sample {sample.id!r}")


def _read(path: Path) -> _Answers:
    if not path.is_file():
        raise DataError(f"{path}: no such file of answers")
    answers: _Answers = {}
    for number, line in read_lines(path, whole=True):
        if not isinstance(line.get("id"), str) or not isinstance(line.get("answer", 0), (str, type(None))):
            raise DataError(f'{path}:{number}: an answer is {{"id": text, "answer": text}}')
        key = (line.get("benchmark"), line["id"])
        if answers.setdefault(key, line["answer"]) != line["answer"]:
            raise DataError(f"{path}:{number}: a second, different answer for {line['id']!r}")
    return answers
