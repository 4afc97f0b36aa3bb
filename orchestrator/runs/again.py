"""One recorded cell again: the same samples, the same image by its id, in a folder of its own beside the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from orchestrator.errors import LockstepError, Unavailable
from orchestrator.executors.protocol import Status
from orchestrator.job import EvaluateStage, InferStage, JobFile, Prediction
from orchestrator.layout import RunLayout, slug
from orchestrator.planning.identity import samples_sha256
from orchestrator.planning.jobs import CellStages, PlannedJob, cell_jobs
from orchestrator.planning.plan import Chosen, PlannedCell
from orchestrator.planning.session import Request, Session, open_session
from orchestrator.records.files import read_run
from orchestrator.records.record import Record, RunFile
from orchestrator.records.samples import read_lines
from orchestrator.runs.folders import new_run
from orchestrator.runs.log import now
from orchestrator.runs.resume import frozen_registry, images_of


@dataclass(frozen=True, kw_only=True)
class Again:
    """A recorded cell, ready to run again; `images` are the recorded ids."""

    record: Record
    session: Session
    place: CellStages
    jobs: tuple[PlannedJob, ...]
    images: Mapping[str, str]


def prepare(run: RunLayout, record: Record, environ: Mapping[str, str], *, name: str = "repro") -> Again:
    """Open the run's frozen registry and plan the one cell.

    Raises LockstepError where the run's own files do not say what ran, Unavailable where weights or data are gone.
    """
    if record.samples_sha256 is None or record.status is Status.SKIPPED:
        raise LockstepError(
            f"{record.row} × {record.benchmark} never ran ({record.reason}): there is nothing to repeat"
        )
    if record.reused:
        raise LockstepError(f"{record.row} × {record.benchmark} was taken from {record.reused}: {record.command}")
    file = read_run(run)
    if file is None:
        raise LockstepError(f"{run.run_json} is not there: nothing says what this run was")
    session = open_session(_request(run, record, file), environ)
    obstacle = session.plan({}).cells[0]
    if obstacle.skipped:
        raise Unavailable(f"{record.model} × {record.benchmark}: {obstacle.skipped}")
    planned = PlannedCell(cell=obstacle.cell, chosen=_chosen(run, record))
    cell = run.root / name / slug(f"{record.model}@{record.environment}") / slug(record.benchmark)
    # each time anew: what an earlier one left would be resumed, not repeated
    folder = new_run(cell, now(), ids=session.layout.run_ids)
    jobs, places = cell_jobs(
        session.registry, folder, [planned], dict(session.models), dict(session.data), seed=file.seed
    )
    return Again(record=record, session=session, place=places[0], jobs=tuple(jobs), images=images_of(file))


def _chosen(run: RunLayout, record: Record) -> Chosen:
    """The recorded samples, from the job file that the run kept."""
    path = run.job_folder(f"{record.model}@{record.environment}") / "work" / "job.json"
    try:
        file = JobFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise LockstepError(f"{path} cannot be read, so the samples are not known: {error}") from None
    mine = [s for s in file.stages if s.benchmark.name == record.benchmark]
    infer = next(s for s in mine if isinstance(s, InferStage))
    if samples_sha256(infer.samples) != record.samples_sha256:
        raise LockstepError(f"{path} names other samples than the record of {record.benchmark}: it was changed")
    whole = any(s.whole for s in mine if isinstance(s, EvaluateStage))
    return Chosen(groups=(), ids=tuple(infer.samples), whole=whole)


def _request(run: RunLayout, record: Record, file: RunFile) -> Request:
    return Request(
        registry=frozen_registry(run, file),
        outputs=run.root.parent,
        models=(record.model,),
        benchmarks=(record.benchmark,),
        environments=(record.environment,),
        limit=file.limit,
        limit_mode=file.limit_mode,
        executor=file.executor,
        seed=file.seed,
        fresh=True,
    )


def equal_answers(before: Path, after: Path) -> tuple[int, int]:
    """How many samples have the same raw answer in two `predictions.jsonl`, and how many are in both."""
    first, second = ({line.value.id: line.value for line in read_lines(p, Prediction).lines} for p in (before, after))
    both = first.keys() & second.keys()
    return sum(first[i].answer == second[i].answer for i in both), len(both)
