"""Building the indexes that a plan lacks: jobs of their own, before the samples can be chosen."""

from __future__ import annotations

from orchestrator.executors.protocol import Outcome, Status
from orchestrator.job import ResultFile
from orchestrator.layout import slug
from orchestrator.planning.jobs import PlannedJob, index_job
from orchestrator.planning.plan import Plan
from orchestrator.runs.going import Going
from orchestrator.scheduling.schedule import after_ok
from orchestrator.untrusted import SMALL, read_plain


def build_indexes(going: Going, plan: Plan) -> dict[str, tuple[Status, str]]:
    """Build the indexes that are missing; returns why, for each benchmark that still has none."""
    session = going.session
    wanted: dict[str, list[str]] = {}
    for planned in plan.to_index:
        cell = planned.cell
        if cell.benchmark not in {b for names in wanted.values() for b in names}:
            wanted.setdefault(cell.environment, []).append(cell.benchmark)
    data = dict(session.data)
    jobs = [index_job(session.registry, going.run, env, names, data) for env, names in wanted.items()]
    if not jobs:
        return {}
    going.display.say(f"reading {sum(map(len, wanted.values()))} benchmark(s) for the first time")
    outcomes = going.schedule(jobs, lambda key, outcome: None, decide=after_ok)
    broken: dict[str, tuple[Status, str]] = {}
    for job, names in zip(jobs, wanted.values(), strict=True):
        session.indexes.keep(session.registry, data, job.job.out, names)
        for name in names:
            broken[name] = _index_failure(job, name, outcomes[job.job.key])
    return broken


def _index_failure(job: PlannedJob, benchmark: str, outcome: Outcome) -> tuple[Status, str]:
    """Why an index was not made: the runner's own words where it left a result, else the job's outcome."""
    path = job.job.out / slug(benchmark) / "index" / "result.json"
    try:
        result = ResultFile.model_validate_json(read_plain(path, limit=SMALL, below=job.job.out))
    except (OSError, ValueError):
        result = None
    if result is not None and result.failure is not None:
        return Status.FAILED, result.failure.message
    return (outcome.status if outcome.status is not Status.OK else Status.FAILED), outcome.reason or "no index was made"
