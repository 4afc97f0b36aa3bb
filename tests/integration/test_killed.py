"""An orchestrator that is killed with -9, at each phase: the container works on, is found again, and nothing runs twice."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Tally
from tests.fixtures import faulty_model
from tests.integration.command import Run, Started, matrix, start, terminate
from tests.integration.small_registry import benchmark, pope, write

pytestmark = [pytest.mark.fault, pytest.mark.engine, pytest.mark.usefixtures("fresh_images")]
ROWS = 6
Containers = Callable[[str], list[str]]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A model that takes its time to load and to answer, on two benchmarks."""
    model = faulty_model.make(tmp_path / "m", seconds=0.4, load_seconds=1.5)
    data = {
        name: benchmark(pope(tmp_path, name, rows)) for name, rows in (("A", slice(ROWS)), ("B", slice(3, 3 + ROWS)))
    }
    return write(tmp_path, models={"m": faulty_model.entry(model)}, benchmarks=data)


@pytest.fixture
def started(registry: Path, tmp_path: Path) -> Iterator[Started]:
    going = start("--registry", str(registry), outputs=tmp_path / "out")
    try:
        yield going
    finally:
        terminate(going)


def kill(started: Started) -> None:
    """As the kernel does when memory is short: nothing of the orchestrator's own runs after this."""
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.communicate()


def asked(run: Run) -> Counter[str]:
    """How often each sample was given to the model in this run; another run may have answered them."""
    path = run.root / "m/tf-4.37/events.jsonl"
    lines = run.lines(str(path)) if path.exists() else []
    return Counter(f"{e['stage']} {e['sample']}" for e in lines if e["phase"] == "infer" and e["sample"])


def answered(run: Run) -> int:
    """How many samples have an answer in the run's own folder."""
    files = [f"m/tf-4.37/{name}/infer/predictions.jsonl" for name in "AB"]
    return sum(len({line["id"] for line in run.lines(file)}) for file in files)


def all_is_there(run: Run, tally: Tally, *, others: Run | None = None, in_flight: int = 0) -> None:
    """Every sample has its answer; none was asked again, in `others` either, but what was `in_flight` at the fault."""
    times = asked(run) + (asked(others) if others else Counter())
    again = times.total() - len(times) - in_flight
    tally(samples=2 * ROWS, lost=2 * ROWS - answered(run), twice=max(0, again))
    assert {record["status"] for record in run.records.values()} == {"ok"}
    assert [record["n"] for record in run.records.values()] == [ROWS, ROWS]
    assert len(times) == 2 * ROWS


def into(started: Started, phase: str) -> None:
    """Until the job is in that phase; `killed` before there is one: as soon as there is a run."""
    if phase == "index":
        while not started.run.root.joinpath("run.json").exists():
            assert started.process.poll() is None
            time.sleep(0.01)
        return
    started.wait_for("m/tf-4.37", phase)
    while phase == "infer" and len(asked(started.run)) < 3:
        time.sleep(0.02)


@pytest.mark.parametrize("phase", ["index", "load", "infer", "evaluate"])
def test_killed_in_any_phase_the_run_is_resumed_and_nothing_runs_twice(
    started: Started, tmp_path: Path, phase: str, containers: Containers, tally: Tally
) -> None:
    into(started, phase)
    kill(started)
    run_id = started.run.root.resolve().name
    before = len(asked(started.run)) if phase == "infer" else 0
    said = matrix("resume", run_id, "--output-root", str(started.outputs), "--json")
    assert said.code == 0, said.err
    all_is_there(said.run, tally)
    assert set(asked(said.run).values()) == {1}, "not even the sample in flight: the container was adopted"
    assert started.run.events("m/tf-4.37", "loaded") == 1
    assert containers(run_id) == []
    if phase == "infer":
        assert before >= 2
        log = (said.run.root / "logs" / "m@tf-4.37.log").read_text(encoding="utf-8")
        assert "A/infer: ok" in log, "the log is whole though nobody read it for a while"


def test_the_same_command_finds_what_the_killed_run_left_at_work(
    started: Started, registry: Path, tmp_path: Path, containers: Containers, tally: Tally
) -> None:
    into(started, "infer")
    kill(started)
    dead = Run(root=started.run.root.resolve())
    said = matrix("--registry", str(registry), "--output-root", str(started.outputs), "--wait", "--json")
    assert said.code == 0, said.err
    assert said.run.root != dead.root
    all_is_there(said.run, tally, others=dead)
    assert not asked(said.run), "all answers are the dead run's"
    assert containers(dead.root.name) == []


def test_a_job_whose_container_was_killed_too_goes_on_from_the_last_answer(
    started: Started, containers: Containers, docker: Callable[..., str], tally: Tally
) -> None:
    into(started, "infer")
    kill(started)
    run = Run(root=started.run.root.resolve())
    docker("kill", *containers(run.root.name))
    before = asked(run)
    said = matrix("resume", run.root.name, "--output-root", str(started.outputs), "--json")
    assert said.code == 0, said.err
    all_is_there(said.run, tally, in_flight=1)
    again = [sample for sample, times in asked(said.run).items() if times > 1]
    assert len(again) <= 1, "only what was in flight"
    assert set(again) <= before.keys()


def test_a_second_run_of_the_same_cells_waits_or_says_who_has_them(
    started: Started, registry: Path, tmp_path: Path, tally: Tally
) -> None:
    into(started, "infer")
    words = ("--registry", str(registry), "--output-root", str(started.outputs), "--json")
    first = Run(root=started.run.root.resolve())
    busy = matrix(*words)
    assert busy.code == 75, busy.err
    waiting = matrix(*words, "--wait")
    assert waiting.code == 0, waiting.err
    assert started.end().code == 0
    all_is_there(waiting.run, tally, others=first)
    reasons = {r["reason"] for r in busy.run.records.values()}
    assert any(f"held by run {first.root.name}" in reason for reason in reasons), reasons
    assert not asked(waiting.run)


def test_a_colleagues_other_cell_goes_beside(started: Started, registry: Path, tmp_path: Path) -> None:
    into(started, "infer")
    words = (
        "--registry",
        str(registry),
        "--output-root",
        str(started.outputs),
        "--json",
        "--benchmarks",
        "A",
        "--seed",
        "5",
    )
    said = matrix(*words)
    assert said.code == 0, said.err
    assert started.end().code == 0
