"""A job's starts: infra with back-off, fallbacks after oom, going on without the cell in which a start ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentUnavailable, Unavailable
from orchestrator.executors.protocol import Job, Log, Needs, Outcome, Status, Stop
from orchestrator.registry.schema import Fallback, Retries
from orchestrator.scheduling.attempts import Attempts
from orchestrator.scheduling.gpus import Gpu
from orchestrator.scheduling.schedule import Planned
from tests.unit.fake_runner import SAMPLES, FakeRunner, Fault, job_in

INFRA = Outcome(status=Status.INFRA, reason="the engine is gone")
FINAL = Outcome(status=Status.INFRA, reason="image gone: type make images", conditions={"final": True})
OOM = "oom"


@dataclass
class Script:
    """Faults one after the other; after the last one, none."""

    faults: list[Fault | None]

    def __call__(self, job: Job) -> Fault | None:
        return self.faults.pop(0) if self.faults else None


@dataclass
class Tried:
    """A job through Attempts, with a clock that only waiting and `took` move."""

    folder: Path
    runner: FakeRunner
    retries: Retries = field(default_factory=lambda: Retries(attempts=3, wait_seconds=10))
    on_oom: Sequence[Fallback] = ()
    gpus: Sequence[Gpu] = ()
    deadline: float | None = None
    timeout: float | None = None
    took: float = 1.0
    cells: Sequence[str] = ("A", "B", "C")
    during: Callable[[], None] = lambda: None
    waits: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.job = job_in(self.folder, self.cells)
        self.planned_file = (self.job.folder / "work" / "job.json").read_bytes()
        self.attempts = Attempts(
            executor=self,  # type: ignore[arg-type]  # its `run` passes the time
            retries=self.retries,
            on_oom={"m": self.on_oom},
            gpus=self.gpus,
            deadline=self.deadline,
            say=self.said.append,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def run(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome:
        self.now += self.took
        return self.runner.run(job, needs=needs, stop=stop, log=log)

    def sleep(self, seconds: float, stop: Stop) -> None:
        self.waits.append(seconds)
        self.now += seconds
        self.during()

    def attempt(self, gpus: int = 0) -> Outcome | Planned:
        planned = Planned(job=self.job, gpus=gpus)
        needs = Needs(timeout_seconds=self.timeout, gpus=tuple(f"GPU-{i}" for i in range(gpus)))
        return self.attempts.attempt(planned, self.job, needs, self.stop, lambda line: None)

    def ended(self, gpus: int = 0) -> Outcome:
        outcome = self.attempt(gpus)
        assert isinstance(outcome, Outcome)
        return outcome

    def of(self, cell: str) -> Outcome:
        outcome = self.attempts.outcome_of(self.job.key, cell)
        assert outcome is not None
        return outcome

    def stages(self, start: int) -> list[str]:
        return [stage.id for stage in self.runner.starts[start][2].stages]

    def lines(self, cell: str) -> int:
        path = self.job.out / cell / "infer" / "predictions.jsonl"
        return len(path.read_text().splitlines()) if path.is_file() else 0


def tried(folder: Path, *faults: Fault | None, **changes: object) -> Tried:
    return Tried(folder, FakeRunner(faults=Script(list(faults))), **changes)  # type: ignore[arg-type]


def gpu(index: int) -> Gpu:
    return Gpu(uuid=f"GPU-{index}", index=index, name="A", memory_gb=80, compute_cap=(8, 0), driver="535.1")


def test_what_goes_well_is_started_once(tmp_path: Path) -> None:
    job = tried(tmp_path)
    assert job.ended().status is Status.OK
    assert len(job.runner.starts) == 1
    assert job.attempts.attempts_of(job.job.key, "A") == []
    assert (job.waits, job.said) == ([], [])


def test_infra_is_tried_again_and_what_was_answered_is_kept(tmp_path: Path) -> None:
    job = tried(tmp_path, Fault(after=4, what="infra", torn=True), Fault(after=2, what="raises"))
    assert job.ended().status is Status.OK
    assert job.runner.again == []
    assert {cell: job.lines(cell) for cell in "ABC"} == {"A": 3, "B": 3, "C": 3}
    assert 10 <= job.waits[0] <= 15
    assert 20 <= job.waits[1] <= 25
    assert job.said[0].startswith("job m@tf-x: infra: infra it was; try 2 of 3 in 1")
    assert job.said[1].startswith("job m@tf-x: infra: OSError: the engine is gone; try 3 of 3 in 2")
    assert [a.status for a in job.attempts.attempts_of(job.job.key, "C")] == [Status.INFRA, Status.INFRA]
    assert job.stages(1) == ["B/infer", "C/infer", "A/evaluate", "B/evaluate", "C/evaluate"]
    assert (job.job.folder / "work" / "job.json").read_bytes() == job.planned_file


def test_infra_that_outlives_its_tries_stays_infra_and_says_how_often(tmp_path: Path) -> None:
    job = tried(tmp_path, *[Fault(after=1, what="infra")] * 9)
    outcome = job.ended()
    assert (outcome.status, outcome.reason) == (Status.INFRA, "infra it was; started 3 times")
    assert len(job.runner.starts) == 3
    assert job.lines("A") == 3


def test_the_waits_double_up_to_the_longest(tmp_path: Path) -> None:
    retries = Retries(attempts=6, wait_seconds=10, max_wait_seconds=40)
    job = tried(tmp_path, *[Fault(after=0, what="infra")] * 9, retries=retries)
    job.ended()
    bounds = [(10, 15), (20, 25), (40, 40), (40, 40), (40, 40)]
    assert all(low <= wait <= high for wait, (low, high) in zip(job.waits, bounds, strict=True))


def test_a_budget_and_a_deadline_end_the_tries(tmp_path: Path) -> None:
    retries = Retries(attempts=9, wait_seconds=10, budget_minutes=1)
    job = tried(tmp_path / "a", *[Fault(after=0, what="infra")] * 9, retries=retries)
    assert job.ended().reason.endswith("no further try within retries.budget_minutes (1)")
    assert sum(job.waits) < 60
    late = tried(tmp_path / "b", *[Fault(after=0, what="infra")] * 9, deadline=5.0)
    assert late.ended().reason.endswith("no further try before the deadline")
    assert late.waits == []


def test_a_stop_ends_the_waiting_and_nothing_starts_after_it(tmp_path: Path) -> None:
    job = tried(tmp_path, Fault(after=1, what="infra"))
    job.during = job.stop.set
    assert job.ended().status is Status.INFRA
    assert len(job.runner.starts) == 1


def test_a_real_wait_is_ended_by_the_stop(tmp_path: Path) -> None:
    """The wait is an hour: only the stop can end it."""
    job = job_in(tmp_path)
    stop = Stop()
    attempts = Attempts(
        executor=FakeRunner(faults=Script([Fault(after=0, what="infra")])),
        retries=Retries(wait_seconds=3600, max_wait_seconds=3600, budget_minutes=600),
        say=lambda line: stop.set(),
    )
    outcome = attempts.attempt(Planned(job=job), job, Needs(), stop, lambda line: None)
    assert isinstance(outcome, Outcome)
    assert outcome.status is Status.INFRA


@pytest.mark.parametrize(
    ("error", "starts"),
    [
        (EnvironmentUnavailable("no image: type make images"), 1),
        (KeyError("a mistake of ours"), 1),
        (Unavailable("no engine answers"), 3),
        (OSError("connection reset"), 3),
    ],
)
def test_only_what_can_pass_is_tried_again(tmp_path: Path, error: Exception, starts: int) -> None:
    count = []

    def fails(job: Job) -> Fault | None:
        count.append(job)
        raise error

    job = Tried(tmp_path, FakeRunner(faults=fails))
    assert job.ended().status is Status.INFRA
    assert len(count) == starts


def test_an_executor_says_that_a_cause_is_final(tmp_path: Path) -> None:
    class Gone(FakeRunner):
        def run(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome:
            return FINAL

    job = Tried(tmp_path, Gone())
    assert job.ended().reason == FINAL.reason
    assert len(job.attempts.attempts_of(job.job.key, "A")) == 1


def test_an_end_after_the_last_result_takes_nothing_away(tmp_path: Path) -> None:
    job = tried(tmp_path, Fault(after=99, what="infra"))
    assert job.ended().status is Status.OK
    assert len(job.runner.starts) == 1


def test_failures_of_the_model_are_not_repeated(tmp_path: Path) -> None:
    job = tried(tmp_path, Fault(after=3, what="failed"), cells=("A",))
    assert job.ended().status is Status.FAILED
    assert len(job.runner.starts) == 1
    other = Tried(tmp_path / "b", FakeRunner(faults=Script([Fault(after=5, what="infra")]), bad=frozenset(SAMPLES)))
    assert other.ended().status is Status.OK
    assert "A/infer" not in other.stages(1)
    assert other.stages(1) == ["B/infer", "C/infer", "B/evaluate", "C/evaluate"]


def test_after_oom_each_fallback_is_tried_once_and_recorded(tmp_path: Path) -> None:
    fallbacks = [Fallback(batch_size=2), Fallback(batch_size=1)]
    faults = [Fault(after=4, what=OOM), Fault(after=0, what=OOM)]
    job = tried(tmp_path, *faults, on_oom=fallbacks)
    outcome = job.ended()
    assert (outcome.status, outcome.conditions["batch_size"]) == (Status.OK, 1)
    models = [file.model for _, _, file in job.runner.starts]
    assert [model and model.batch_size for model in models] == [None, 2, 1]
    assert job.said == [
        "job m@tf-x: oom: oom it was; again with batch_size 2",
        "job m@tf-x: oom: oom it was; again with batch_size 1",
    ]
    last = job.attempts.attempts_of(job.job.key, "B")
    assert [(a.status, a.conditions.get("batch_size")) for a in last] == [
        (Status.OOM, None),
        (Status.OOM, 2),
        (Status.OK, 1),
    ]
    answered_before = job.of("A").conditions, [a.status for a in job.attempts.attempts_of(job.job.key, "A")]
    assert answered_before == ({"exit_code": 0}, [Status.OOM, Status.OOM])
    assert len(json.loads((job.job.out / "B" / "infer" / "conditions.json").read_text())) == 3
    assert job.runner.again == []


def test_more_gpus_are_asked_of_the_schedule(tmp_path: Path) -> None:
    job = tried(tmp_path, Fault(after=4, what=OOM), on_oom=[Fallback(gpus=2)], gpus=[gpu(0), gpu(1)])
    wider = job.attempt(gpus=1)
    assert isinstance(wider, Planned)
    assert (wider.gpus, wider.key) == (2, job.job.key)
    assert job.attempts.began(job.job.key)
    outcome = job.ended(gpus=wider.gpus)
    assert (outcome.status, outcome.conditions["gpus"]) == (Status.OK, 2)
    assert len(job.runner.starts[1][1].gpus) == 2


def test_gpus_that_are_not_here_are_passed_over_and_said(tmp_path: Path) -> None:
    fallbacks = [Fallback(gpus=4), Fallback(batch_size=1)]
    job = tried(tmp_path, *[Fault(after=0, what=OOM)] * 2, on_oom=fallbacks, gpus=[gpu(0)], cells=("A",))
    outcome = job.ended(gpus=1)
    assert outcome.status is Status.OOM
    assert outcome.reason.startswith("oom it was; on_oom gpus 4 passed over: needs 4 GPUs; here: 0: A 80 GB")
    assert outcome.conditions["batch_size"] == 1


def test_oom_while_scoring_is_not_helped_by_the_models_fallbacks(tmp_path: Path) -> None:
    job = tried(tmp_path, Fault(after=3, what=OOM), on_oom=[Fallback(batch_size=1)], cells=("A",))
    assert job.ended().status is Status.OOM
    assert len(job.runner.starts) == 1


@pytest.mark.parametrize("what", ["timeout", "oom", "failed"])
def test_a_job_goes_on_without_the_cell_in_which_it_ended(tmp_path: Path, what: str) -> None:
    job = tried(tmp_path, Fault(after=4, what=what))
    outcome = job.ended()
    assert (outcome.status, outcome.reason) == (Status(what), f"{what} it was")
    assert job.stages(1) == ["C/infer", "A/evaluate", "C/evaluate"]
    assert {cell: job.of(cell).status for cell in "ABC"} == {"A": Status.OK, "B": Status(what), "C": Status.OK}
    assert job.lines("B") == 1
    assert job.said == [f"job m@tf-x: {what}: {what} it was; goes on without B, with A, C"]
    assert [a.reason for a in job.attempts.attempts_of(job.job.key, "B")] == [f"{what} it was"]
    assert (job.job.folder / "work" / "job.json").read_bytes() == job.planned_file


def test_every_cell_may_be_left_out_but_none_twice(tmp_path: Path) -> None:
    job = tried(tmp_path, *[Fault(after=0, what="timeout")] * 9)
    assert job.ended().status is Status.TIMEOUT
    assert len(job.runner.starts) == 3


def test_a_jobs_own_timeout_is_not_begun_anew(tmp_path: Path) -> None:
    job = tried(tmp_path, Fault(after=4, what="timeout"), timeout=10.0, took=4.0)
    job.ended()
    assert [needs.timeout_seconds for _, needs, _ in job.runner.starts] == [10.0, 6.0]
    spent = tried(tmp_path / "b", Fault(after=4, what="timeout"), timeout=10.0, took=10.0)
    assert spent.ended().status is Status.TIMEOUT
    assert len(spent.runner.starts) == 1


def test_an_end_that_names_no_stage_is_the_jobs(tmp_path: Path) -> None:
    class InLoad(FakeRunner):
        def run(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome:
            return Outcome(status=Status.TIMEOUT, reason="no sign for 60 s; last seen in load")

    job = Tried(tmp_path, InLoad())
    assert job.ended().status is Status.TIMEOUT
    assert len(job.attempts.attempts_of(job.job.key, "A")) == 1


def test_a_link_in_the_place_of_a_stage_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "other-run"
    elsewhere.mkdir()
    (elsewhere / "result.json").write_text("{}")

    class Hostile(FakeRunner):
        def run(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome:
            (job.out / "B").mkdir(exist_ok=True)
            if not (job.out / "B" / "evaluate").exists():
                (job.out / "B" / "evaluate").symlink_to(elsewhere)
            return INFRA

    assert Tried(tmp_path, Hostile()).ended().status is Status.INFRA
    assert (elsewhere / "result.json").read_text() == "{}"
