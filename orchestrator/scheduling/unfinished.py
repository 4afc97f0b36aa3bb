"""What a start of a job left to do, read from the results in its folder, and the job.json of the next start."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from enum import Enum

from pydantic import JsonValue

from orchestrator.executors.protocol import Job
from orchestrator.files import replace_file
from orchestrator.job import EvaluateStage, IndexStage, JobFile, ResultFile, Stage
from orchestrator.planning.identity import samples_sha256
from orchestrator.untrusted import SMALL, check_folder, read_plain

_STANDS = ("model", "data", "scorer")  # failures that another start would only repeat; all others are the machine's


class Turn(Enum):
    """What a cell has of its job. `ENDED`: it failed for a reason of its own, which another start would only repeat."""

    OPEN = "open"
    OK = "ok"
    ENDED = "ended"


def cell_of(stage: str) -> str:
    """The cell of a stage's id: the slug of its benchmark.

    >>> cell_of("POPE/infer")
    'POPE'
    """
    return stage.rpartition("/")[0]


class JobFolder:
    """The folder of a job between two starts of it. Nothing of the job runs meanwhile."""

    def __init__(self, job: Job) -> None:
        """Reads job.json as it was planned. Raises OSError, or ValueError where it is none."""
        self._path = job.folder / "work" / "job.json"
        self._planned = self._path.read_bytes()
        self._out = job.out
        self.file = JobFile.model_validate_json(self._planned)
        self.cells = tuple(dict.fromkeys(cell_of(stage.id) for stage in self.file.stages))

    @property
    def answers(self) -> bool:
        """Whether the job asks a model anything."""
        return any(stage.kind == "infer" for stage in self.file.stages)

    def turn(self, cell: str) -> Turn:
        """Whether the cell's last stage is done here; a failure of any of its stages that cannot pass ends it too."""
        stages = [stage for stage in self.file.stages if cell_of(stage.id) == cell]
        results = [self._result(stage) for stage in stages]
        if any(r and r.failure and r.failure.kind in _STANDS for r in results):
            return Turn.ENDED
        return Turn.OK if all(_is_ok(r) for r in results) else Turn.OPEN

    def asks(self, cell: str) -> bool:
        """Whether the cell has questions left for the model."""
        mine = [stage for stage in self.file.stages if cell_of(stage.id) == cell and stage.kind == "infer"]
        return any(not _is_ok(self._result(stage)) for stage in mine)

    def had_turn(self, cell: str) -> bool:
        """Whether the runner came to the cell's last stage, whatever became of it."""
        last = [stage for stage in self.file.stages if cell_of(stage.id) == cell][-1]
        return self._result(last) is not None

    def prepare(self, culprits: Collection[str], changed: Mapping[str, JsonValue]) -> None:
        """Write the job.json of the next start and remove what no later verdict may rest on. Raises OSError.

        `changed`: what a fallback changed of the model. Stages that are done are left out; what scores a finished cell
        stays, for the runner's table. Predictions stay in any case: the runner takes over the valid ones.
        """
        ended = {cell for cell in self.cells if self.turn(cell) is Turn.ENDED}
        stages: list[Stage] = []
        for stage in self.file.stages:
            cell = cell_of(stage.id)
            if cell in ended or cell in culprits:
                continue
            there = os.path.lexists(self._out / stage.id / "result.json")  # one that comes later is a living job's
            done = _is_ok(self._result(stage))
            if there and not done:
                self._forget(stage)
            if not done or isinstance(stage, EvaluateStage):
                stages.append(stage)
        model = self.file.model
        if model is not None and "batch_size" in changed:
            model = model.model_copy(update={"batch_size": changed["batch_size"]})
        file = self.file.model_copy(update={"stages": stages, "model": model})
        replace_file(self._path, file.model_dump_json(indent=1).encode())

    def restore(self) -> None:
        """Put job.json back as it was planned: it says what the run asked for. Raises OSError."""
        if self._path.read_bytes() != self._planned:
            replace_file(self._path, self._planned)

    def _result(self, stage: Stage) -> ResultFile | None:
        """None where there is none that can be read, or it is about other samples."""
        try:
            content = read_plain(self._out / stage.id / "result.json", limit=SMALL, below=self._out)
            result = ResultFile.model_validate_json(content)
        except (OSError, ValueError):
            return None
        same = isinstance(stage, IndexStage) or result.samples_sha256 == samples_sha256(stage.samples)
        return result if same else None

    def _forget(self, stage: Stage) -> None:
        """Where the folder is a link it is not ours to empty: the verdict will be that it is invalid."""
        folder = self._out / stage.id
        with suppress(OSError, ValueError):
            check_folder(folder, below=self._out)
            (folder / "result.json").unlink(missing_ok=True)


def _is_ok(result: ResultFile | None) -> bool:
    return result is not None and result.status == "ok"


def names(cells: Iterable[str]) -> str:
    """A few cells by name.

    >>> names(["A", "B", "C", "D"])
    'A, B and 2 more'
    """
    known = list(cells)
    return ", ".join(known) if len(known) < 4 else f"{known[0]}, {known[1]} and {len(known) - 2} more"
