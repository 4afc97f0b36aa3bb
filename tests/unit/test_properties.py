"""Random faults at random moments: no cell is lost, no answer is made twice, and `resume` brings every run to its end.

`LOCKSTEP_EXAMPLES=2000 pytest tests/unit/test_properties.py` tries more, other ones each time; without it the same few.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from orchestrator.errors import Exit
from orchestrator.executors.protocol import Job, Log, Needs, Outcome, Status, Stop
from orchestrator.registry.schema import Fallback, Retries
from orchestrator.scheduling.attempts import Attempts
from orchestrator.scheduling.gpus import Gpu
from orchestrator.scheduling.schedule import Planned, Schedule
from tests.unit.fake_runner import SAMPLES, FakeRunner, Fault, job_in
from tests.unit.small_world import CELLS, World, small_world

_MORE = int(os.environ.get("LOCKSTEP_EXAMPLES", "0"))
WHAT = ("infra", "raises", "oom", "timeout", "failed")


def examples(few: int) -> settings:
    """Not shrunk: histories are short, and each takes a second."""
    phases = (Phase.explicit, Phase.generate)
    return settings(max_examples=_MORE or few, derandomize=not _MORE, deadline=None, database=None, phases=phases)


def fault(*what: str, most: int) -> st.SearchStrategy[Fault]:
    return st.builds(Fault, after=st.integers(0, most), what=st.sampled_from(what), torn=st.booleans())


@dataclass
class Faults:
    """What befalls the starts of jobs, one after the other, whichever job comes."""

    left: list[Fault | None]

    def __call__(self, job: Job) -> Fault | None:
        return self.left.pop(0) if self.left else None


# --- one schedule with its attempts -----------------------------------------------------------------------------------


@examples(30)
@given(
    faults=st.lists(st.none() | fault(*WHAT, most=16), max_size=12),
    jobs=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=4),
    gpus=st.integers(0, 3),
    fallbacks=st.lists(
        st.builds(Fallback, batch_size=st.just(1)) | st.builds(Fallback, gpus=st.integers(1, 4)), max_size=3
    ),
    bad=st.sets(st.sampled_from(SAMPLES), max_size=1),
)
def test_every_job_ends_and_every_cell_has_what_ended_it(
    faults: list[Fault | None],
    jobs: list[tuple[int, int]],
    gpus: int,
    fallbacks: list[Fallback],
    bad: set[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runner = FakeRunner(faults=Faults(list(faults)), bad=frozenset(bad))
        here = [
            Gpu(uuid=f"GPU-{i}", index=i, name="A", memory_gb=80, compute_cap=(8, 0), driver="535") for i in range(gpus)
        ]
        planned = [
            Planned(job=job_in(Path(folder) / str(i), "ABC"[:cells], key=f"m{i}"), gpus=wanted)
            for i, (wanted, cells) in enumerate(jobs)
        ]
        attempts = Attempts(
            executor=runner,
            retries=Retries(attempts=2, wait_seconds=0),
            on_oom={p.key: fallbacks for p in planned},
            gpus=here,
        )
        at_work: list[str] = []

        def attempt(planned: Planned, job: Job, needs: Needs, stop: Stop, log: Log) -> Outcome | Planned:
            at_work.extend(needs.gpus)
            assert len(at_work) == len(set(at_work))
            assert len(needs.gpus) == planned.gpus
            try:
                return attempts.attempt(planned, job, needs, stop, log)
            finally:
                for uuid in needs.gpus:
                    at_work.remove(uuid)

        schedule = Schedule(executor=runner, log=lambda job: lambda line: None, gpus=here, slots=2, attempt=attempt)
        outcomes = schedule.run(planned, Stop())
        assert not [o for o in outcomes.values() if "AssertionError" in o.reason]
        assert outcomes.keys() == {p.key for p in planned}
        assert runner.again == []
        for one, (_, cells) in zip(planned, jobs, strict=True):
            _check_cells(runner, attempts, one, "ABC"[:cells], outcomes[one.key])


def _check_cells(runner: FakeRunner, attempts: Attempts, planned: Planned, cells: str, outcome: Outcome) -> None:
    starts = [file for key, _, file in runner.starts if key == planned.key]
    assert len(starts) <= 2 + 3 + len(cells)  # tries, fallbacks, cells left out
    if not starts:
        assert outcome.status is Status.SKIPPED
    for cell in cells if starts else "":
        ended = attempts.outcome_of(planned.key, cell)
        assert ended is not None
        done = (planned.job.out / cell / "evaluate" / "result.json").is_file()
        assert done or ended.status is not Status.OK
        if outcome.status is Status.OK:
            assert done


# --- whole runs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One command of a history: `run` (again), `resume` of the newest run, `two` runs at once; or a file is harmed."""

    verb: str
    faults: tuple[Fault | None, ...] = ()
    killed_at: int | None = None  # the orchestrator's own signs of life before it is killed
    bad: frozenset[str] = frozenset()
    limit: int | None = None
    harmed: int = 0


def befall(*what: str, most: int) -> st.SearchStrategy[tuple[Fault | None, ...]]:
    return st.lists(st.none() | fault(*what, most=24), max_size=most).map(tuple)


limits = st.none() | st.integers(1, 3)
steps = (
    st.builds(
        Step,
        verb=st.sampled_from(["run", "resume", "resume"]),
        faults=befall(*WHAT, "killed", "killed", most=8),
        killed_at=st.none() | st.integers(0, 25),
        bad=st.frozensets(st.sampled_from(SAMPLES), max_size=1),
        limit=limits,
    )
    | st.builds(Step, verb=st.just("two"), faults=befall(*WHAT, most=6), limit=limits)
    | st.builds(Step, verb=st.sampled_from(["cut", "torn", "twice", "foreign"]), harmed=st.integers(0, 20))
)


@examples(10)
@given(history=st.lists(steps, min_size=1, max_size=4))
def test_whatever_happens_no_cell_is_lost_and_resume_ends_it(history: list[Step]) -> None:
    runner = FakeRunner()
    with tempfile.TemporaryDirectory() as folder, small_world(Path(folder), runner) as world:
        for step in history:
            _take(world, step)
        runner.faults, runner.bad, world.signs = Faults([]), frozenset(), None
        if not world.runs():
            world.start()
        for name in world.runs():
            assert world.resume(name) is Exit.OK
            assert {record.status for record in world.records(name)} == {Status.OK}
            _check(world, name, Exit.OK)
        starts = len(runner.starts)
        assert world.resume(world.runs()[-1]) is Exit.OK
        assert len(runner.starts) == starts


def test_a_start_with_more_gpus_keeps_what_the_one_before_answered() -> None:
    """The job is put back on the schedule in between: nothing of it is taken away meanwhile."""
    mine = Faults([Fault(after=1, what="killed"), Fault(after=4, what="oom"), Fault(after=2, what="oom")])
    runner = FakeRunner(faults=lambda job: mine(job) if job.key == "one@tf-x" else None)
    with tempfile.TemporaryDirectory() as folder, small_world(Path(folder), runner) as world:
        assert world.start() is None
        assert world.start() is Exit.OK
        starts = [(len(needs.gpus), file.model) for key, needs, file in runner.starts if key == "one@tf-x"]
        assert [(gpus, model and model.batch_size) for gpus, model in starts[1:]] == [(1, None), (1, 1), (2, 1)]
        assert runner.again == []
        _check(world, world.runs()[-1], Exit.OK)


def _take(world: World, step: Step) -> None:
    before = world.runs()
    world.runner.faults, world.runner.bad, world.signs = Faults(list(step.faults)), step.bad, step.killed_at
    if step.verb == "two":
        codes = _both(world, step.limit)
    elif step.verb == "resume" and before:
        codes = [world.resume(before[-1])]
    elif step.verb in ("run", "resume"):
        codes = [world.start(limit=step.limit)]
    else:
        codes = [None]
        if before:
            world.damage(before[-1], step.verb, step.harmed)
    new = [name for name in world.runs() if name not in before] or before[-1:]
    for name, code in zip(new, codes, strict=False):
        if code is not None:
            _check(world, name, code if len(codes) == 1 else None)
    assert world.runner.again == []
    assert world.runner.together == []


def _both(world: World, limit: int | None) -> list[Exit | None]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [future.result() for future in [pool.submit(world.start, limit=limit, wait=True) for _ in range(2)]]


def _check(world: World, name: str, code: Exit | None) -> None:
    """Every cell has one record; those that are ok rest on answers that were made, the others have no number."""
    records = world.records(name)
    assert sorted((r.model, r.environment, r.benchmark) for r in records) == sorted(CELLS)
    for record in records:
        assert bool(record.metrics) is (record.status is Status.OK)
        if record.status is Status.OK:
            answered = _answered(world, record.model, record.environment, record.benchmark)
            assert record.n_rows is not None
            assert answered >= record.n_rows
        else:
            assert record.reason
    if code is not None:
        assert (code is Exit.OK) is all(record.status is Status.OK for record in records)


def _answered(world: World, model: str, environment: str, benchmark: str) -> int:
    return sum(world.runner.flushed[model, environment, benchmark, sample] > 0 for sample in SAMPLES)
