"""The cells of a run: what is there is taken over, the rest becomes jobs, and each ends as a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.executors.protocol import Job, Outcome, Status
from orchestrator.layout import slug
from orchestrator.planning.jobs import CellStages, cell_jobs, places_of
from orchestrator.planning.plan import PlannedCell
from orchestrator.planning.reuse import answers, is_same, sources
from orchestrator.planning.session import Session
from orchestrator.planning.taking import clear, is_changed, seed, set_aside, take
from orchestrator.records.known import Known, read_known
from orchestrator.runs.gather import Ended, Gathering
from orchestrator.runs.going import Going
from orchestrator.runs.log import now
from orchestrator.scheduling.schedule import Outcomes, Planned, after_ok
from orchestrator.untrusted import NotPlain, remove_litter


def run_cells(going: Going, gathering: Gathering, cells: Sequence[PlannedCell]) -> None:
    """Every cell gets its record: kept, reused, or made by a job. Raises OSError where the disk fails."""
    to_start = [planned for planned in cells if not _taken_whole(going, gathering, planned)]
    if going.executor is None:
        for planned in to_start:
            why = "what it was to be taken from changed meanwhile: type the command again"
            going.records.append(gathering.unstarted(planned, Status.INVALID, why))
        return
    running = _Running(going, gathering, to_start)
    for place in running.places:
        gathering.waiting(place)
    going.schedule(running.jobs, running.ended, decide=running.decide, names=running.names)


def _taken_whole(going: Going, gathering: Gathering, planned: PlannedCell) -> bool:
    """Whether a finished cell was found and stood its judgement: this run's own is kept, another's is copied."""
    if not planned.reuse.whole:
        return False
    session = going.session
    place = places_of(session.registry, going.run, planned)
    for done in sources(planned, session.known, fresh=session.fresh, own=session.own):
        if done.name != planned.reuse.whole or not is_same(planned, done):
            continue
        if done.run.root == going.run.root:
            # finished though its record does not say so: the run was killed between the two
            record = done.record if not done.record.failed else gathering.finished(place, Ended())
        else:
            found = gathering.reused(place, done)
            if found is None:
                continue
            record = found
        if not record.failed:
            going.records.append(record)
            going.display.cell(record)
            return True
    return False


class _Running:
    """The cells that have something to do, while their jobs run. `decide` is called in a job's own thread."""

    def __init__(self, going: Going, gathering: Gathering, cells: Sequence[PlannedCell]) -> None:
        session = going.session
        counted = [_recounted(session, planned) if planned.reuse.whole else planned for planned in cells]
        self._going = going
        self._gathering = gathering
        self._outcomes: dict[str, Outcome] = {}
        self._seeded: set[tuple[str, str]] = set()
        self.jobs, self.places = cell_jobs(
            session.registry, going.run, counted, dict(session.models), dict(session.data), seed=session.request.seed
        )

    def names(self, key: str) -> list[str]:
        """The stage identities that a job works on: no other run may work on them meanwhile."""
        identities = (p.planned.identity for p in self.places if p.infer_job == key)
        return sorted({f"prediction-{identity.prediction}" for identity in identities if identity.prediction})

    def decide(self, planned: Planned, ended: Outcomes) -> Job | str:
        """The job as it shall run: after what it waits for, with the answers that are there already."""
        decided = _where_answers_are(planned, ended)
        executor, session = self._going.executor, self._going.session
        assert executor is not None
        begun = self._going.attempts.began(planned.key)  # and put back for more GPUs
        if isinstance(decided, str) or begun or executor.alive(planned.job.run_id, planned.key):
            return decided  # what works already is not touched: the executor adopts it
        self._tidy(planned.key)
        # read anew, with the locks in hand: another run may have answered some of it since the plan was made
        known = read_known(session.request.outputs, session.layout.known_records, but=self._going.run)
        own = session.own  # as it was before this start: its records still say what their answers were judged by
        for place in self.places:
            if place.infer_job == planned.key:
                self._seed(place, known, own)
        return decided

    def _seed(self, place: CellStages, known: Known, own: Known | None) -> None:
        session, planned = self._going.session, place.planned
        assert planned.chosen is not None
        clear(self._going.run, place.infer, place.evaluate)
        found = sources(planned, known, fresh=session.fresh, own=own)
        for done in found:
            if done.run.root == self._going.run.root and is_changed(done):
                set_aside(place.infer)  # kept for whoever wants to know, and asked for again
        taken = take(found, planned.identity, planned.chosen.ids)
        if taken.lines:
            self._seeded.add((place.infer_job, planned.cell.benchmark))
            seed(place.infer, taken)

    def _tidy(self, key: str) -> None:
        """Links and other things that no honest job leaves would be followed when files are put beside them."""
        for job in self.jobs:
            if job.job.key == key and job.job.out.is_dir():
                try:
                    removed = remove_litter(job.job.out)
                except (OSError, NotPlain) as error:
                    removed = [f"nothing: {error}"]
                for what in removed:
                    self._going.log(f"removed from {key}: {what}")

    def ended(self, key: str, outcome: Outcome) -> None:
        """Judge the cells that end with this job."""
        self._outcomes[key] = outcome
        self._tidy(key)
        for place in self.places:
            if place.evaluate_job == key:
                self._gather(place)

    def _gather(self, place: CellStages) -> None:
        going, cell = self._going, place.planned.cell
        name = slug(cell.benchmark)
        finished = now().isoformat(timespec="seconds")
        attempts = [
            attempt
            for key in dict.fromkeys((place.infer_job, place.evaluate_job))
            for attempt in going.attempts.attempts_of(key, name)
        ]
        untouched = not attempts and (place.infer_job, cell.benchmark) not in self._seeded
        record = self._gathering.finished(
            place,
            Ended(
                infer=going.outcome_of(place.infer_job, name, self._outcomes[place.infer_job]),
                evaluate=going.outcome_of(place.evaluate_job, name, self._outcomes[place.evaluate_job]),
                attempts=attempts,
                loads=1 if untouched else None,
                started=going.started.get(place.infer_job, finished),
                finished=finished,
            ),
        )
        going.records.append(record)
        going.display.cell(record)


def _recounted(session: Session, planned: PlannedCell) -> PlannedCell:
    """A cell that seemed whole and did not stand its judgement: what its answers are worth one by one."""
    found = sources(planned, session.known, fresh=session.fresh, own=session.own)
    return replace(planned, reuse=answers(planned, found))


def _where_answers_are(planned: Planned, ended: Outcomes) -> Job | str:
    """Run a job after others that are ok; also where one is not, but left finished stages that this one reads."""
    decided = after_ok(planned, ended)
    inputs = [mount.source for mount in planned.job.mounts if mount.target.startswith("work/in/")]
    if isinstance(decided, str) and any((source / "result.json").is_file() for source in inputs):
        for source in inputs:
            source.mkdir(parents=True, exist_ok=True)
        return planned.job
    return decided
