"""Stopped from outside, or killed: nothing is left running, what is finished stays, and the way on is said."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.command import Said, Started, matrix, processes_of, start, terminate
from tests.integration.conftest import EXECUTORS, Docker
from tests.integration.small_registry import benchmark, guess, pope, write

pytestmark = pytest.mark.fault
TOKEN = "hf_planted_and_nobodys"


@pytest.fixture
def prepared(request: pytest.FixtureRequest, executor: str) -> None:
    if executor == "docker":
        request.getfixturevalue("fresh_images")


@pytest.fixture
def going(prepared: None, executor: str, tmp_path: Path) -> Iterator[Started]:
    """Two models, one after the other: `first` has finished, `second` is at work and stays there.

    The second answers a benchmark of many rows, so that it is never done before the signal comes.
    """
    few = pope(tmp_path, "few")
    header, *rows = few.read_text(encoding="utf-8").splitlines()
    many = tmp_path / "many.tsv"
    picture = rows[0].split("\t", 1)[1]
    many.write_text("\n".join([header, *(f"{i}\t{picture}" for i in range(3000))]) + "\n", encoding="utf-8")
    registry = write(
        tmp_path,
        models={"first": guess(), "second": guess()},
        benchmarks={"Few": benchmark(few), "Many": benchmark(many)},
        exclude=[{"models": "first", "benchmarks": "Many", "because": "it is to end soon"}],
    )
    words = ("--registry", str(registry), "--models", "first,second", "--executor", executor, "--jobs", "1")
    environ = {"HF_TOKEN": TOKEN, "HUGGING_FACE_HUB_TOKEN": TOKEN, "OPENAI_API_KEY": TOKEN}
    started = start(*words, outputs=tmp_path / "out", environ=environ)
    try:
        started.wait_for("second/tf-4.37", "start")
        yield started
    finally:
        terminate(started)


def ended(started: Started) -> Said:
    said = started.end()
    assert "Traceback" not in said.err + said.out, said.err
    assert processes_of(started) == []
    return said


def what_stays(started: Started) -> None:
    """The first model's cell is whole, the second's are not ok, and both are in the report, again and again."""
    run = started.run
    assert {cell: record["status"] for cell, record in run.records.items()} == {
        ("first", "tf-4.37", "Few"): "ok",
        ("first", "tf-4.37", "Many"): "skipped",
        ("second", "tf-4.37", "Few"): "skipped",
        ("second", "tf-4.37", "Many"): "skipped",
    }
    assert [row["status"] for row in run.rows if row["score"]] == ["ok"]
    report = (run.root / "EVALUATION_REPORT.md").read_bytes()
    (run.root / "EVALUATION_REPORT.md").unlink()
    assert matrix("report", "--output-root", str(started.outputs)).code == 0
    assert (run.root / "EVALUATION_REPORT.md").read_bytes() == report
    assert {os.lstat(path).st_uid for path in run.root.resolve().rglob("*")} == {os.getuid()}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda v: str(v)
)
def test_a_signal_stops_and_keeps_what_is_finished(
    going: Started, executor: str, number: signal.Signals, code: int, request: pytest.FixtureRequest
) -> None:
    run_id = going.run.root.resolve().name
    os.kill(going.process.pid, number)
    said = ended(going)
    assert said.code == code, said.err
    assert f"go on: python run_matrix.py resume {run_id}" in said.out
    what_stays(going)
    if executor == "docker":
        assert request.getfixturevalue("containers")(run_id) == []


@pytest.mark.engine
@pytest.mark.parametrize("executor", ["docker"])
def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing(
    going: Started, containers: Callable[[str], list[str]], executor: str
) -> None:
    run_id = going.run.root.resolve().name
    os.kill(going.process.pid, signal.SIGINT)
    time.sleep(0.05)  # two at once would be one
    os.kill(going.process.pid, signal.SIGINT)
    said = ended(going)
    assert said.code == 130
    # the second may come when all has ended already
    assert "nothing that was answered is lost: python run_matrix.py resume" in said.err or "go on: python" in said.out
    assert containers(run_id) == []
    assert going.run.records["first", "tf-4.37", "Few"]["status"] == "ok"


@pytest.mark.engine
@pytest.mark.parametrize("executor", ["docker"])
def test_a_killed_container_is_started_again_and_no_token_was_in_it(
    going: Started, docker: Docker, containers: Callable[[str], list[str]], executor: str
) -> None:
    run_id = going.run.root.resolve().name
    (container,) = containers(run_id)
    shown = docker("inspect", container)
    assert "HF_HUB_OFFLINE" in shown
    docker("kill", "--signal", "KILL", container)
    said = ended(going)
    check_killed(going, said)
    assert containers(run_id) == []
    texts = [shown, said.out, said.err]
    texts += [path.read_text("utf-8", "replace") for path in going.run.root.resolve().rglob("*") if path.is_file()]
    assert len(texts) > 20
    assert not any(TOKEN in text for text in texts)


@pytest.mark.venv
@pytest.mark.parametrize("executor", ["venv"])
def test_a_killed_process_is_started_again(going: Started, executor: str) -> None:
    for process in processes_of(going):
        assert f"HF_TOKEN={TOKEN}" not in Path(f"/proc/{process}/environ").read_text()
        os.kill(process, signal.SIGKILL)
    check_killed(going, ended(going))


def check_killed(started: Started, said: Said) -> None:
    """The other model's cell is untouched, the job went on from its last answer, and its records say what happened."""
    assert said.code == 0, said.out + said.err
    records = started.run.records
    assert {record["status"] for cell, record in records.items() if cell[2] == "Few"} == {"ok"}
    assert records["first", "tf-4.37", "Few"]["attempts"] == []
    record = records["second", "tf-4.37", "Many"]
    assert record["status"] == "ok"
    (attempt,) = record["attempts"]
    assert attempt["status"] == "infra"
    assert "137 SIGKILL" in attempt["reason"]
    assert "\n" not in attempt["reason"]
