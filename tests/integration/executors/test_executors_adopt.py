"""An orchestrator is killed with -9 while its container works: the next one finds it, and nothing runs twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.executors.container_engine import Engine
from orchestrator.executors.private import memory
from orchestrator.executors.protocol import Job, Needs, Outcome, Status, Stop
from tests.integration.executors.conftest import Bench
from tests.integration.executors.other_orchestrator import kill_when, orchestrating

pytestmark = [pytest.mark.fault, pytest.mark.engine]


@pytest.fixture
def image(any_bench: Bench, request: pytest.FixtureRequest) -> tuple[str, str]:
    assert any_bench.engine is not None
    found: tuple[str, str] = request.getfixturevalue(f"{any_bench.engine.facts.kind}_image")
    return found


@pytest.fixture
def left(any_bench: Bench, image: tuple[str, str]) -> Job:
    """A job whose orchestrator was killed in the middle."""
    with orchestrating(any_bench, image, "counted") as process:
        kill_when(process, "ready")
    return any_bench.job("counted")


def engine_of(bench: Bench) -> Engine:
    assert bench.engine is not None
    return bench.engine


def starts(job: Job) -> int:
    return len((job.out / "starts").read_text(encoding="utf-8").splitlines())


def run(bench: Bench, job: Job, needs: Needs | None = None) -> tuple[Outcome, list[str]]:
    """To its end, which it is told as soon as its own line says that it works."""
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if line == "ready":
            bench.go_on(job)

    return bench.executor.run(job, needs=needs or Needs(), stop=Stop(), log=log), lines


def test_one_at_work_is_seen_to_its_end(any_bench: Bench, left: Job) -> None:
    assert any_bench.executor.alive(left.run_id, left.key)
    assert not any_bench.executor.alive("another-run", left.key)
    assert len(any_bench.leftovers()) == 1
    outcome, lines = run(any_bench, left)
    assert (outcome.status, outcome.reason) == (Status.OK, "")
    assert lines[0].startswith("… found at work since 20")
    assert lines[1:] == ["first", "ready", "last"]
    assert starts(left) == 1
    assert {path.stat().st_uid for path in (left.out, *left.out.iterdir())} == {os.getuid()}
    assert any_bench.leftovers() == []
    assert not any_bench.executor.alive(left.run_id, left.key)


def test_one_whose_log_the_engine_has_to_cut_is_seen_to_its_end(any_bench: Bench, image: tuple[str, str]) -> None:
    """What is followed is the engine's own log of it, which is bounded; lines may be lost then, the end may not."""
    with orchestrating(any_bench, image, "counted", "100") as process:
        kill_when(process, "ready")
    job = any_bench.job("counted", "100")
    outcome, lines = run(any_bench, job)
    assert outcome.status is Status.OK
    assert lines[1:3] == ["first", "ready"]
    assert sum(map(len, lines)) < 65 * 2**20
    assert starts(job) == 1


def test_one_that_ended_meanwhile_is_judged(any_bench: Bench, left: Job) -> None:
    any_bench.go_on(left)
    (container,) = any_bench.leftovers()
    engine_of(any_bench).api.wait(container)
    assert not any_bench.executor.alive(left.run_id, left.key)
    outcome, lines = run(any_bench, left)
    assert outcome.status is Status.OK
    assert lines[1:] == ["first", "ready", "last"]
    assert starts(left) == 1


def test_one_that_was_killed_meanwhile_runs_again(any_bench: Bench, left: Job) -> None:
    (container,) = any_bench.leftovers()
    engine_of(any_bench).api.kill(container)
    engine_of(any_bench).api.wait(container)
    outcome, lines = run(any_bench, left)
    assert outcome.status is Status.OK
    assert lines == ["first", "ready", "last"]
    assert starts(left) == 2


def test_its_time_counts_from_its_start(any_bench: Bench, left: Job) -> None:
    outcome = any_bench.run(left, needs=Needs(timeout_seconds=0.001))
    assert outcome.status is Status.TIMEOUT
    assert outcome.reason == "not finished after 0.001 s; last seen in infer, POPE/infer, sample 412"
    assert outcome.stage == "POPE/infer"
    assert any_bench.leftovers() == []


def test_stop_ends_an_adopted_one(any_bench: Bench, left: Job) -> None:
    outcome = any_bench.run(left, on="ready")
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, "interrupted")
    assert any_bench.leftovers() == []


def test_one_that_was_never_started_is_made_anew(any_bench: Bench, image: tuple[str, str]) -> None:
    with orchestrating(any_bench, image, "counted", dies="before start") as process:
        assert process.wait() != 0
    job = any_bench.job("counted")
    assert len(any_bench.leftovers()) == 1
    assert not any_bench.executor.alive(job.run_id, job.key)
    outcome, lines = run(any_bench, job)
    assert outcome.status is Status.OK
    assert lines == ["first", "ready", "last"]
    assert starts(job) == 1


def test_one_whose_orchestrator_lives_is_left_alone(any_bench: Bench, image: tuple[str, str]) -> None:
    job = any_bench.job("counted")
    with orchestrating(any_bench, image, "counted") as process:
        for line in process.stdout:
            if line.strip() == "ready":
                break
        outcome = any_bench.run(job)
        assert outcome.status is Status.INFRA
        assert f"process {process.pid} of " in outcome.reason
        any_bench.go_on(job)
        assert [line.strip() for line in process.stdout] == ["last", "ok"]
    assert starts(job) == 1


def test_its_secrets_are_kept_for_it_and_gone_with_it(any_bench: Bench, image: tuple[str, str]) -> None:
    before = set(_secret_folders())
    with orchestrating(any_bench, image, "reveal", "TOKEN", secrets={"TOKEN": "planted-hunter2"}) as process:
        kill_when(process, "ready")
    (folder,) = set(_secret_folders()) - before
    other = any_bench.job("fail", "0", key="another")
    assert any_bench.run(other).status is Status.OK
    assert folder.exists()  # the container still sees it
    outcome, lines = run(any_bench, any_bench.job("reveal", "TOKEN", secrets={"TOKEN": "planted-hunter2"}))
    assert outcome.status is Status.OK
    assert lines[1:] == ["the token is ***", "ready"]
    assert not folder.exists()


def _secret_folders() -> list[Path]:
    return list(memory().glob("lockstep-secrets-*"))
