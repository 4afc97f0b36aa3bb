"""Another terminal beside a run: what it sees, and how it stops it; also where the orchestrator was killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.layout import RunLayout
from tests.integration.command import Started, command, matrix, processes_of, start, terminate
from tests.integration.conftest import EXECUTORS, Docker
from tests.integration.small_registry import benchmark, guess, pope, write


@pytest.fixture
def prepared(request: pytest.FixtureRequest, executor: str) -> None:
    if executor == "docker":
        request.getfixturevalue("fresh_images")


@pytest.fixture
def going(prepared: None, executor: str, tmp_path: Path) -> Iterator[Started]:
    """`first` has ended, `second` is at work and would be for long, `third` waits for a slot."""
    few = pope(tmp_path, "few")
    header, *rows = few.read_text(encoding="utf-8").splitlines()
    many = tmp_path / "many.tsv"
    picture = rows[0].split("\t", 1)[1]
    many.write_text("\n".join([header, *(f"{i}\t{picture}" for i in range(3000))]) + "\n", encoding="utf-8")
    registry = write(
        tmp_path,
        models={"first": guess(), "second": guess(), "third": guess()},
        benchmarks={"Few": benchmark(few), "Many": benchmark(many)},
        exclude=[{"models": "first", "benchmarks": "Many", "because": "it is to end soon"}],
    )
    words = ("--registry", str(registry), "--models", "all", "--executor", executor, "--jobs", "1")
    started = start(*words, outputs=tmp_path / "out")
    try:
        started.wait_for("second/tf-4.37", "infer")
        yield started
    finally:
        terminate(started)


def run_of(started: Started) -> RunLayout:
    return RunLayout(root=started.run.root.resolve())


def where(started: Started) -> tuple[str, str]:
    return ("--output-root", str(started.outputs))


def killed(started: Started) -> str:
    """The run's id, after its orchestrator was killed."""
    run_id = run_of(started).root.name
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.communicate()
    return run_id


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_run_is_seen_followed_and_cancelled(going: Started, executor: str, request: pytest.FixtureRequest) -> None:
    run_id = run_of(going).root.name
    (seen,) = matrix("status", "--json", *where(going)).json["runs"]
    jobs = {job["key"]: job for job in seen["jobs"] if not job["key"].startswith("index@")}
    assert (seen["run"], seen["state"], seen["pid"]) == (run_id, "at work", going.process.pid)
    assert [jobs[f"{name}@tf-4.37"]["state"] for name in ("first", "second", "third")] == [
        "ended",
        "running",
        "waiting",
    ]
    assert jobs["second@tf-4.37"]["phase"] == "infer"
    assert jobs["second@tf-4.37"]["event_seconds"] < 300
    text = matrix("status", *where(going)).out
    assert f"run {run_id}  at work for" in text
    assert "cpu  second@tf-4.37  infer" in text

    follows = subprocess.Popen(
        command("logs", "second", "-f", *where(going)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    said = matrix("cancel", run_id, *where(going))
    assert said.code == 0, said.err
    assert f"run {run_id} has stopped; go on: python run_matrix.py resume {run_id} --output-root" in said.out
    assert going.end().code == 143
    assert processes_of(going) == []
    if executor == "docker":
        assert request.getfixturevalue("containers")(run_id) == []
    out, err = follows.communicate(timeout=60)
    assert (follows.returncode, "Traceback" in err) == (0, False), err
    assert out.splitlines() == run_of(going).job_log("second@tf-4.37").read_text(encoding="utf-8").splitlines()

    again = matrix("cancel", run_id, *where(going))
    assert (again.code, "has ended already, exit code 143" in again.out) == (0, True), again
    assert f"run {run_id}  has ended, exit code 143" in matrix("status", run_id, *where(going)).out
    assert matrix("status", *where(going)).out.startswith("no run is at work in")
    assert matrix("logs", "first", "-n", "1", *where(going)).out.count("\n") <= 1


@pytest.mark.engine
@pytest.mark.parametrize("executor", ["docker"])
def test_what_a_killed_orchestrator_left_at_work_is_seen_and_cancelled(
    going: Started, executor: str, docker: Docker, containers: Callable[[str], list[str]]
) -> None:
    (container,) = containers(run_of(going).root.name)
    name = docker("inspect", "--format", "{{.Name}}", container).strip().lstrip("/")
    beside = matrix("clean", *where(going))
    assert f"{name}: kept (running; run" in beside.out, beside
    assert "is at work on it (pid" in beside.out

    run_id = killed(going)
    seen = matrix("status", *where(going)).out
    assert f"run {run_id}  did not end (killed, or it broke off)" in seen
    assert f"go on: python run_matrix.py resume {run_id}" in seen
    listed = matrix("clean", *where(going)).out
    assert f"{name}: left behind (running; run {run_id}, which it worked for, is not at work)" in listed
    assert f"left by run {run_id}" in listed
    assert containers(run_id) == [container]

    said = matrix("cancel", run_id, *where(going))
    assert (said.code, name in said.out) == (0, True), said
    assert containers(run_id) == []
    assert f"{name}" not in matrix("clean", "--yes", *where(going)).out
    assert f"left by run {run_id}" not in matrix("clean", *where(going)).out


@pytest.mark.engine
@pytest.mark.parametrize("executor", ["docker"])
def test_clean_removes_what_is_this_projects_and_nobody_elses(
    going: Started, executor: str, docker: Docker, containers: Callable[[str], list[str]]
) -> None:
    run_id = killed(going)
    (container,) = containers(run_id)
    image = docker("inspect", "--format", "{{.Image}}", container).strip()
    labels = ["--label", "org.lockstep.project=another-0123", "--label", f"org.lockstep.run={run_id}"]
    other = docker("create", "--network", "none", *labels, image).strip()
    try:
        listed = matrix("clean", "--yes", *where(going))
        assert "removed (running; run" in listed.out, listed
        assert containers(run_id) == []
        assert docker("inspect", "--format", "{{.Id}}", other).strip() == other
        assert other[:12] not in listed.out
    finally:
        docker("rm", other)


def test_words_that_name_nothing_are_one_line(tmp_path: Path) -> None:
    root = ("--output-root", str(tmp_path))
    for words in (("status", "2026"), ("logs", "m"), ("cancel", "2026")):
        said = matrix(*words, *root)
        assert (said.code, len(said.lines)) == (2, 1), said
        assert "no runs in" in said.err
