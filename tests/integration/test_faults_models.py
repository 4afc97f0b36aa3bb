"""Every way in which a model's job can end badly, in one run on the real engine beside a model that is fine.

Each model answers two benchmarks. What goes wrong costs the sample that was in flight and nothing else, the other cells
get their turn, and once the cause is mended `resume` brings all to ok without asking anything twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Tally
from tests.fixtures import faulty_model
from tests.integration.command import Run, Said, start, terminate
from tests.integration.conftest import Docker
from tests.integration.fault_runs import (
    ENVIRONMENT,
    answered,
    asked,
    cost,
    kill_in_the_middle,
    resume,
    statuses,
    twice,
)
from tests.integration.small_registry import benchmark, pope, write

pytestmark = [pytest.mark.fault, pytest.mark.engine]
ROWS = 5
STALL_MINUTES = 0.75  # longer than an import takes on a busy machine, which is the longest time without an event
FAULTS: dict[str, dict[str, Any]] = {
    "fine": {},
    "loud": {"log_mb": 100},
    "killed": {"seconds": 0.3},
    "lost": {"device_lost_at": 2, "times": 1},
    "smaller": {"oom_at": 2},
    "oom": {"oom_at": 2, "times": 1},
    "eats": {"eat_memory_at": 2, "times": 1},
    "hangs": {"hang_at": 2, "times": 1, "deaf": True},
    "loads": {"hang_in_load": True},
}
MENDED_BY_ITSELF = ("fine", "loud", "killed", "lost", "smaller")


@dataclass(frozen=True, kw_only=True)
class Storm:
    """The run with the faults and, after they were mended, the same run resumed. `before`: what it was in between."""

    said: Said
    run: Run
    records: dict[str, dict[str, dict[str, Any]]]
    answered: dict[str, list[str]]
    left: list[str]
    resumed: Run
    report: str


@pytest.fixture(scope="module")
def storm(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    folder = tmp_path_factory.mktemp("storm")
    made = {name: faulty_model.make(folder / name, **faults) for name, faults in FAULTS.items()}
    # the same weights under two names would be one model, with answers to share
    models = {name: faulty_model.entry(path, max_new_tokens=8 + i) for i, (name, path) in enumerate(made.items())}
    models["smaller"]["on_oom"] = [{"batch_size": 1}]
    rows = {"A": slice(ROWS), "B": slice(ROWS, 2 * ROWS)}
    registry = write(
        folder,
        models=models,
        benchmarks={name: benchmark(pope(folder, name, which), timeout_minutes=0.2) for name, which in rows.items()},
        run={
            "shm_gb": 0.1,
            "tmp_gb": 1,
            "memory_gb": 2,
            "stall_minutes": STALL_MINUTES,
            "retries": {"attempts": 2, "wait_seconds": 0.1},
        },
    )
    started = start("--registry", str(registry), "--jobs", "3", outputs=folder / "out")
    try:
        killer = threading.Thread(target=kill_in_the_middle, args=(docker, started, "killed", (3,)))
        started.wait_for(f"killed/{ENVIRONMENT}", "infer")
        killer.start()
        said = started.end()
        killer.join()
    finally:
        terminate(started)
    run = Run(root=started.run.root.resolve())
    records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in FAULTS}
    for (model, _, name), record in run.records.items():
        records[model][name] = record
    before = {f"{model} {name}": answered(run, model, name) for model in FAULTS for name in rows}
    for path in made.values():
        faulty_model.set_faults(path)
    label = f"--filter=label=org.lockstep.run={run.root.name}"
    left = docker("ps", "--all", "--quiet", label).split()
    report = (run.root / "EVALUATION_REPORT.md").read_text(encoding="utf-8")
    resumed = resume(started.outputs)
    left += docker("ps", "--all", "--quiet", label).split()
    return Storm(said=said, run=run, records=records, answered=before, left=left, resumed=resumed, report=report)


def test_it_ends_with_the_code_of_the_worst_and_says_how_to_go_on(storm: Storm) -> None:
    assert storm.said.code == 1, storm.said.err
    assert f"go on: python run_matrix.py resume {storm.run.root.name} --output-root" in storm.said.out
    assert storm.said.lines
    assert storm.left == []


def test_what_the_machine_did_is_tried_again_and_all_else_is_left_as_it_is(storm: Storm) -> None:
    found = {
        (model, name): record["status"] for model, cells in storm.records.items() for name, record in cells.items()
    }
    expected = dict.fromkeys(((model, name) for model in FAULTS for name in ("A", "B")), "ok")
    expected |= {("oom", "A"): "oom", ("eats", "A"): "oom", ("hangs", "A"): "timeout"}
    expected |= {("loads", "A"): "timeout", ("loads", "B"): "timeout"}
    assert found == expected
    for cells in storm.records.values():
        for record in cells.values():
            assert bool(record["metrics"]) == (record["status"] == "ok")
            assert "\n" not in record["reason"]


REASONS: dict[str, Callable[[str], bool]] = {
    "oom": lambda said: said.startswith("OutOfMemoryError: CUDA out of memory.") and "(in generate, sample " in said,
    "eats": lambda said: said.startswith(
        "killed by the kernel for want of more than its 2 GB of memory; last seen in "
    ),
    "hangs": lambda said: said.startswith("A/infer not finished after 12 s; last seen in infer, A/infer, sample "),
    "loads": lambda said: said.startswith("no event for 45 s; hung in load"),
}


@pytest.mark.parametrize("model", REASONS)
def test_the_reason_names_what_happened_where(storm: Storm, model: str) -> None:
    record = storm.records[model]["A"]
    assert REASONS[model](record["reason"]), record["reason"]
    assert record["where"].startswith(f"logs/{model}@{ENVIRONMENT}.log:")
    assert f"{record['status']}" in storm.report
    assert record["reason"].split(";")[0] in storm.report


def test_a_killed_container_and_a_lost_device_are_attempts_in_the_record(storm: Storm) -> None:
    for model, words in (("killed", "killed from outside (137 SIGKILL)"), ("lost", "CUDA error: an illegal memory")):
        (attempt,) = storm.records[model]["A"]["attempts"]
        assert attempt["status"] == "infra"
        assert words in attempt["reason"], attempt
        assert storm.run.events(f"{model}/{ENVIRONMENT}", "loaded") == 2
        assert f"job {model}@{ENVIRONMENT}: infra: " in storm.said.err


def test_a_fallback_is_an_attempt_and_its_condition_is_seen(storm: Storm) -> None:
    for name, expected in (("A", ["oom", "ok"]), ("B", ["oom", "ok"])):
        record = storm.records["smaller"][name]
        attempts = record["attempts"]
        assert [attempt["status"] for attempt in attempts] == expected, attempts
        assert attempts[-1]["conditions"]["batch_size"] == 1
        assert record["conditions"]["batch_size"] == 1
    sizes = {part["conditions"]["batch_size"]: part["samples"] for part in storm.records["smaller"]["A"]["answered"]}
    assert sizes == {None: 2, 1: ROWS - 2}
    assert "3 here (cpu, batch\\_size 1), 2 here (cpu, batch\\_size as usual); batch\\_size 1 after oom" in storm.report
    assert "again with batch_size 1" in storm.said.err


def test_only_what_was_in_flight_is_asked_again(storm: Storm, tally: Tally) -> None:
    """Over all starts and the resumed run, of everything that ever was answered."""
    in_flight = {model: 0 if model in ("fine", "loads") else 1 for model in FAULTS}
    tally(**cost(storm.resumed, in_flight, samples=2 * ROWS * len(FAULTS)), faults=len(FAULTS) - 1)
    for model in FAULTS:
        expected = 0 if model in ("fine", "loud", "loads") else 1
        assert len(asked(storm.resumed, model)) == 2 * ROWS
        assert len(twice(storm.resumed, model)) == expected, model


def test_no_answer_is_lost_by_the_resumed_run(storm: Storm) -> None:
    for cell, before in storm.answered.items():
        model, name = cell.split()
        assert answered(storm.resumed, model, name)[: len(before)] == before
    assert storm.answered["hangs A"] == storm.answered["oom A"] == storm.answered["eats A"]
    assert len(storm.answered["hangs A"]) == 2


def test_a_log_without_end_is_cut(storm: Storm) -> None:
    """A job's log is bounded at 64 MB, however much it prints; how much more it is changes nothing but the time."""
    log = storm.run.root / "logs" / f"loud@{ENVIRONMENT}.log"
    assert 2**20 < log.stat().st_size < 65 * 2**20


def test_mended_models_are_what_they_were(storm: Storm) -> None:
    assert storm.resumed.root == storm.run.root
    assert len(statuses(storm.resumed)) == 2 * len(FAULTS)
    for model in MENDED_BY_ITSELF:
        for name in ("A", "B"):
            kept = storm.resumed.records[model, ENVIRONMENT, name]
            assert kept == storm.records[model][name], "what was ok is kept as it was"
    assert (storm.resumed.root / "results.csv").read_text(encoding="utf-8").count("\n") == 1 + 2 * len(FAULTS)
