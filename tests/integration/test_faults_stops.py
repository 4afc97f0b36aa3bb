"""Runs that are stopped before their end, each brought to it by `resume`: nothing lost, nothing answered twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Tally
from tests.fixtures import faulty_model
from tests.integration.command import Run, Said, Started, matrix, start, terminate
from tests.integration.conftest import Docker
from tests.integration.fault_runs import (
    ENVIRONMENT,
    answered,
    asked,
    cost,
    kill_in_the_middle,
    many,
    resume,
    statuses,
    twice,
    wait_until,
)
from tests.integration.small_registry import benchmark, guess, pope, write

pytestmark = [pytest.mark.fault, pytest.mark.engine, pytest.mark.usefixtures("fresh_images")]
FEW, MANY = 6, 3000
Containers = Callable[[str], list[str]]
Begin = Callable[..., Started]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts a matrix that does not outlive its test."""
    every: list[Started] = []

    def call(registry: Path, *words: str) -> Started:
        every.append(start("--registry", str(registry), "--jobs", "1", *words, outputs=registry.parent / "out"))
        return every[-1]

    yield call
    for started in every:
        terminate(started)


def two_guesses(folder: Path) -> Path:
    """`first` has one small benchmark, `second` also one of many rows."""
    data = {"Few": benchmark(pope(folder, "few", slice(FEW))), "Many": benchmark(many(folder, MANY))}
    exclude = [{"models": "first", "benchmarks": "Many", "because": "it is to end soon"}]
    # two generation limits, or they would be one model with answers to share
    models = {"first": guess(max_new_tokens=8), "second": guess()}
    return write(folder, models=models, benchmarks=data, exclude=exclude)


def slow(folder: Path, data: Path | None = None, names: tuple[str, ...] = ("m",), **run: Any) -> Path:
    """Models that take their time, on one benchmark, of six samples."""
    models = {
        name: faulty_model.entry(faulty_model.make(folder / name, seconds=0.3), max_new_tokens=8 + i)
        for i, name in enumerate(names)
    }
    settings = {"shm_gb": 0.1, "tmp_gb": 1, **run}
    data = data or pope(folder, "A", slice(6))
    return write(folder, models=models, benchmarks={"A": benchmark(data)}, run=settings)


def mended(folder: Path, *names: str) -> None:
    for name in names or ("m",):
        faulty_model.set_faults(folder / name)


def of(started: Started) -> Run:
    return Run(root=started.run.root.resolve())


def goes_on(started: Started, said: Said) -> None:
    assert said.lines
    assert f"go on: python run_matrix.py resume {of(started).root.name} --output-root {started.outputs}" in said.out


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_ctrl_c_in_the_middle(begin: Begin, tmp_path: Path, times: int, containers: Containers, tally: Tally) -> None:
    started = begin(two_guesses(tmp_path))
    wait_until(lambda: sum(asked(started.run, "second").values()) > 30, started, "second is at work")
    for _ in range(times):
        os.kill(started.process.pid, signal.SIGINT)
        time.sleep(0.05)  # two at once would be one
    said = started.end()
    run = of(started)
    assert said.code == 130, said.err
    assert said.lines
    # the second may come when all has ended already
    at_once = "nothing that was answered is lost: python run_matrix.py resume" in said.err
    assert (times == 2 and at_once) or "go on: python run_matrix.py resume" in said.out
    assert containers(run.root.name) == []
    assert statuses(run)["first", "Few"] == "ok"
    assert not run.records["second", ENVIRONMENT, "Many"]["metrics"]
    kept = {name: answered(run, "second", name) for name in ("Few", "Many")}
    first = run.records["first", ENVIRONMENT, "Few"]

    after = resume(started.outputs)
    assert after.root == run.root
    assert after.records["first", ENVIRONMENT, "Few"] == first
    assert (len(asked(after, "first")), twice(after, "first")) == (FEW, [])
    tally(**cost(after, {"first": 0, "second": 1}, samples=2 * FEW + MANY))
    assert len(asked(after, "second")) == FEW + MANY
    assert len(twice(after, "second")) <= 1, "what was in flight"
    for name, before in kept.items():
        assert answered(after, "second", name)[: len(before)] == before
    assert containers(run.root.name) == []


def test_a_container_that_is_killed_each_time_is_infra_in_the_end(
    begin: Begin, tmp_path: Path, docker: Docker, containers: Containers, tally: Tally
) -> None:
    started = begin(slow(tmp_path, retries={"attempts": 2, "wait_seconds": 0.1}))
    kill_in_the_middle(docker, started, "m", (3, 6))
    said = started.end()
    run = of(started)
    assert said.code == 4, said.err
    goes_on(started, said)
    (record,) = run.records.values()
    assert (record["status"], record["metrics"]) == ("infra", [])
    assert record["reason"].startswith("killed from outside (137 SIGKILL); last seen in infer, A/infer, sample ")
    assert "started 2 times" in record["reason"]
    assert [attempt["status"] for attempt in record["attempts"]] == ["infra", "infra"]
    assert len(answered(run, "m", "A")) == 4
    mended(tmp_path)
    after = resume(started.outputs)
    tally(**cost(after, {"m": 2}, samples=6))
    assert len(asked(after, "m")) == 6
    assert len(twice(after, "m")) == 2, "what was in flight, each time"
    assert containers(run.root.name) == []


def test_ctrl_c_while_it_waits_to_try_again(begin: Begin, tmp_path: Path, docker: Docker, tally: Tally) -> None:
    started = begin(slow(tmp_path, retries={"attempts": 3, "wait_seconds": 300}))
    kill_in_the_middle(docker, started, "m", (2,))
    log = of(started).root / "logs" / "run.log"
    wait_until(lambda: "try 2 of 3 in 300 s" in log.read_text(encoding="utf-8"), started, "it waits")
    other = matrix("resume", "--output-root", str(started.outputs))
    assert (other.code, len(other.lines)) == (75, 1), other.err
    assert other.err.startswith(f"run {of(started).root.name} is at work, held by run {of(started).root.name}"), (
        other.err
    )
    assert f"(pid {started.process.pid} on " in other.err
    os.kill(started.process.pid, signal.SIGINT)
    said = started.end()
    assert said.code == 130, said.err
    goes_on(started, said)
    (record,) = of(started).records.values()
    assert record["status"] == "infra"
    mended(tmp_path)
    after = resume(started.outputs)
    tally(**cost(after, {"m": 1}, samples=6))
    assert (len(asked(after, "m")), len(twice(after, "m"))) == (6, 1)


def test_the_deadline_of_a_run(begin: Begin, tmp_path: Path, containers: Containers, tally: Tally) -> None:
    """What is at work then is stopped, what waits does not start, and neither is a failure."""
    started = begin(slow(tmp_path, many(tmp_path, 100), names=("a", "b")), "--deadline", "9s")
    said = started.end()
    run = of(started)
    assert said.code == 5, (said.err, said.out)
    goes_on(started, said)
    reasons = {model: (r["status"], r["reason"].partition(" (")[0]) for (model, _, _), r in run.records.items()}
    assert reasons == dict.fromkeys(("a", "b"), ("skipped", "deadline reached"))
    assert not asked(run, "b")
    assert containers(run.root.name) == []
    mended(tmp_path, "a", "b")
    after = resume(started.outputs)
    tally(**cost(after, {"a": 1, "b": 0}, samples=200))
    assert (len(asked(after, "a")), len(asked(after, "b"))) == (100, 100)
    assert len(twice(after, "a")) <= 1
    assert twice(after, "b") == []


def test_fail_fast(begin: Begin, tmp_path: Path) -> None:
    registry = slow(tmp_path, names=("a", "b"))
    faulty_model.set_faults(tmp_path / "a", raise_at=1)
    started = begin(registry, "--fail-fast")
    said = started.end()
    run = of(started)
    assert said.code == 1, said.err
    goes_on(started, said)
    assert statuses(run) == {("a", "A"): "failed", ("b", "A"): "skipped"}
    assert run.records["b", ENVIRONMENT, "A"]["reason"] == "stopped at the first failure"
    assert "ValueError in generate: the fault that was asked for" in run.records["a", ENVIRONMENT, "A"]["reason"]
    mended(tmp_path, "a", "b")
    after = resume(started.outputs)
    assert len(twice(after, "a")) == 1, "the failed one alone"
    assert twice(after, "b") == []
