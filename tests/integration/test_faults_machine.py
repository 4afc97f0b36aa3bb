"""What goes wrong with the machine around a run: its clock, its engine, an image that is gone, GPUs that others use."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.claims.claims import Claim, claim, gpu_lock, identity_lock, make_mark
from orchestrator.layout import PROJECT
from tests.conftest import Tally
from tests.fixtures import faulty_model
from tests.integration.command import Run, Started, matrix, processes_of, start, terminate
from tests.integration.conftest import Docker
from tests.integration.engine_proxy import EngineProxy
from tests.integration.fault_runs import asked, cost, many, resume, twice, wait_until
from tests.integration.small_registry import benchmark, guess, pope, write

pytestmark = pytest.mark.fault
Begin = Callable[..., Started]
ROWS = 8
DAY = 24 * 3600


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts a matrix that does not outlive its test."""
    every: list[Started] = []

    def call(*words: str, outputs: Path, environ: dict[str, str] | None = None, project: Path = PROJECT) -> Started:
        every.append(start(*words, outputs=outputs, environ=environ, project=project))
        return every[-1]

    yield call
    for started in every:
        terminate(started)


def of(started: Started) -> Run:
    return Run(root=started.run.root.resolve())


def log_of(started: Started) -> str:
    return (of(started).root / "logs" / "run.log").read_text(encoding="utf-8")


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.usefixtures("fresh_images")
def test_a_clock_that_is_set_back_between_two_runs_and_in_the_middle_of_one(begin: Begin, tmp_path: Path) -> None:
    """The orchestrator's clock alone: see shifted_clock. What is newest is what was made last, not what says so."""
    clock = tmp_path / "clock"
    environ = {"PYTHONPATH": str(Path(__file__).parent / "shifted_clock"), "LOCKSTEP_TEST_CLOCK": str(clock)}
    registry = write(tmp_path, models={"m": guess()}, benchmarks={"A": benchmark(many(tmp_path, 1500))})
    out = tmp_path / "out"
    words = ("--registry", str(registry), "--output-root", str(out), "--json")
    clock.write_text(str(10 * DAY))
    first = matrix(*words, "--limit", "4", environ=environ)
    assert first.code == 0, first.err
    clock.write_text("0")
    second = matrix(*words, "--limit", "9", environ=environ)
    assert second.code == 0, second.err
    assert second.run.root.name < first.run.root.name, "it was made later, on an earlier day"
    assert os.readlink(out / "latest") == second.run.root.name
    assert len(asked(second.run, "m")) == 5
    assert second.run.records["m", "tf-4.37", "A"]["n"] == 9
    assert second.run.root.name in matrix("report", "--output-root", str(out)).out

    clock.write_text(str(20 * DAY))
    started = begin(*words[:2], "--fresh", "--timeout", "30m", "--deadline", "30m", outputs=out, environ=environ)
    wait_until(lambda: sum(asked(of(started), "m").values()) > 30, started, "it is at work")
    clock.write_text(str(-20 * DAY))
    os.kill(started.process.pid, signal.SIGINT)
    assert started.end().code == 130
    third = of(started)
    assert third.root.name > first.run.root.name
    clock.write_text(str(-30 * DAY))
    said = matrix("resume", "--output-root", str(out), "--json", environ=environ)
    assert said.code == 0, said.err
    assert said.run.root == third.root
    assert len(asked(third, "m")) == 1500
    assert len(twice(third, "m")) <= 1
    clock.write_text("0")
    again = matrix(*words, environ=environ)
    assert [record["reused"] for record in again.run.records.values()] == [third.root.name]


# --- the engine -------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(tmp_path: Path, fresh_images: None) -> Iterator[EngineProxy]:
    """The real engine behind a socket that can be cut, so that it is lost for one run and for nobody else."""
    with EngineProxy(tmp_path / "engine.sock") as made:
        yield made


def slow(folder: Path, **run: object) -> Path:
    model = faulty_model.entry(faulty_model.make(folder / "m", seconds=0.4))
    data = {"A": benchmark(pope(folder, "A", slice(ROWS)))}
    return write(folder, models={"m": model}, benchmarks=data, run={"shm_gb": 0.1, "tmp_gb": 1, **run})


@pytest.mark.engine
def test_an_engine_that_is_lost_for_a_while_is_found_again_with_its_container(
    begin: Begin, proxy: EngineProxy, tmp_path: Path, containers: Callable[[str], list[str]], tally: Tally
) -> None:
    registry = slow(tmp_path, retries={"attempts": 5, "wait_seconds": 0.5})
    started = begin("--registry", str(registry), outputs=tmp_path / "out", environ={"DOCKER_HOST": proxy.address})
    wait_until(lambda: sum(asked(started.run, "m").values()) >= 2, started, "2 asked")
    proxy.cut()
    wait_until(lambda: "try 2 of 5" in log_of(started), started, "it noticed")
    proxy.mend()
    said = started.end()
    assert said.code == 0, (said.err, said.out)
    (record,) = of(started).records.values()
    assert {attempt["status"] for attempt in record["attempts"]} == {"infra"}
    assert record["attempts"][0]["reason"].startswith("docker engine: ")
    tally(**cost(of(started), {"m": 0}, samples=ROWS))
    assert (len(asked(of(started), "m")), twice(of(started), "m")) == (ROWS, []), "the container had worked on"
    assert of(started).events("m/tf-4.37", "loaded") == 1
    assert containers(of(started).root.name) == []


@pytest.mark.engine
def test_an_engine_that_stays_away_is_infra_and_the_run_is_resumed_when_it_is_back(
    begin: Begin, proxy: EngineProxy, tmp_path: Path, containers: Callable[[str], list[str]], tally: Tally
) -> None:
    registry = slow(tmp_path, retries={"attempts": 2, "wait_seconds": 0.1})
    started = begin("--registry", str(registry), outputs=tmp_path / "out", environ={"DOCKER_HOST": proxy.address})
    wait_until(lambda: sum(asked(started.run, "m").values()) >= 2, started, "2 asked")
    proxy.cut()
    said = started.end()
    run = of(started)
    assert said.code == 4, said.err
    assert said.lines
    (record,) = run.records.values()
    assert (record["status"], record["metrics"]) == ("infra", [])
    assert record["reason"].startswith("docker engine: ")
    assert "started 2 times" in record["reason"]
    away = matrix("resume", "--output-root", str(started.outputs), environ={"DOCKER_HOST": proxy.address})
    assert (away.code, len(away.lines)) == (4, 1), away.err
    assert f"no docker engine answers at {proxy.address}" in away.err
    after = resume(started.outputs)
    assert after.root == run.root
    tally(**cost(after, {"m": 0}, samples=ROWS))
    assert (len(asked(after, "m")), twice(after, "m")) == (ROWS, []), "the container had worked on"
    assert containers(run.root.name) == []


# --- an image that is gone --------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, docker: Docker) -> Iterator[Path]:
    """A copy of the project whose image of tf-4.37 is one of its own: its runner differs by a comment."""
    root = tmp_path / "lockstep"
    for name in ("orchestrator", "runner", "requirements-locks", "images"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "run_matrix.py", root)
    module = root / "runner" / "lockstep_runner" / "failures.py"
    module.write_text(f"{module.read_text(encoding='utf-8')}# {tmp_path}\n", encoding="utf-8")
    content = {"environments": {"tf-4.37": {"transformers": "4.37.2"}}, "include": {}}
    write(root, models={"m": guess()}, benchmarks={"A": benchmark(many(tmp_path, ROWS))}, **content)
    yield root
    tags = matrix("images", "--tags", project=root).out.split()
    present = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    for tag in set(tags) & set(present):
        docker("image", "rm", tag)


def one_tag(project: Path) -> str:
    said = matrix("images", "tf-4.37", project=project)
    assert said.code == 0, said.err
    (tag,) = [tag for tag in matrix("images", "--tags", project=project).out.split() if "/tf-4.37:" in tag]
    return tag


@pytest.mark.engine
def test_an_image_that_is_removed_after_the_run_was_planned(begin: Begin, project: Path, docker: Docker) -> None:
    """The run waits for a lock that this test holds; meanwhile its image goes."""
    tag = one_tag(project)
    out = project / "outputs"
    words = ("--registry", "registry.yaml", "--output-root", str(out), "--json")
    first = matrix(*words, "--limit", "2", project=project)
    assert first.code == 0, first.err
    (record,) = Run(root=out / "latest").records.values()
    mark = make_mark(
        run_id="another", job_key="m@tf-4.37", folder=project, project="another", executor="docker", command=""
    )
    lock = identity_lock(out, f"prediction-{record['identity']['prediction']}")
    held = claim([lock], mark=mark)
    assert isinstance(held, Claim)
    with held:
        started = begin(*words[:2], "--wait", outputs=out, project=project)
        wait_until(lambda: of(started).root.name != Path(record["run_id"]).name, started, "it has begun")
        wait_until(lambda: "waits m@tf-4.37: held by run another" in log_of(started), started, "it waits")
        docker("image", "rm", tag)
    said = started.end()
    run = of(started)
    assert said.code == 4, (said.err, said.out)
    (record,) = run.records.values()
    assert (record["status"], record["metrics"]) == ("infra", [])
    assert record["reason"].startswith("the engine lacks its image (")
    assert "make images ENV=tf-4.37" in record["reason"]

    gone = matrix("resume", "--output-root", str(out), project=project)
    assert (gone.code, len(gone.lines)) == (4, 1), gone.err
    assert "make images ENV=tf-4.37" in gone.err
    assert one_tag(project) == tag
    said = matrix("resume", "--output-root", str(out), "--json", project=project)
    assert said.code == 0, said.err
    assert {r["status"] for r in run.records.values()} == {"ok"}
    assert (len(asked(run, "m")), twice(run, "m")) == (ROWS - 2, [])


# --- GPUs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """UUIDs of two GPUs that only an `nvidia-smi` made for this test knows."""
    unique = f"{os.getpid():08x}-{abs(hash(tmp_path)) % 2**16:04x}-4f0e-9b1c"
    uuids = (f"GPU-{unique}-aaaaaaaaaaaa", f"GPU-{unique}-bbbbbbbbbbbb")
    rows = "".join(f"{i}, {uuid}, A100, 81920, 4, 8.0, 550.54.15, Disabled\\n" for i, uuid in enumerate(uuids))
    names = "".join(f"GPU {i}: A100 (UUID: {uuid})\\n" for i, uuid in enumerate(uuids))
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    text = f"#!/bin/sh\ncase \"$1\" in --query-gpu=*) printf '{rows}' ;; -L) printf '{names}' ;; esac\n"
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    yield uuids
    for uuid in uuids:
        gpu_lock(uuid).unlink(missing_ok=True)


@pytest.mark.venv
def test_two_runs_share_a_machines_gpus_and_none_is_used_twice(
    begin: Begin, gpus: tuple[str, str], tmp_path: Path
) -> None:
    """The GPUs are simulated, by the driver's program alone; the runs, their locks and their jobs are real processes.

    No engine gives away GPUs that are not there, so the jobs are venvs', of a model that does not ask torch for them.
    """
    rows = {"one": 3000, "two": ROWS, "three": ROWS}
    registries = {}
    for name, count in rows.items():
        folder = tmp_path / name
        folder.mkdir()
        model = guess(gpu={"count": 1, "vram_gb": 40})
        registries[name] = write(folder, models={"m": model}, benchmarks={"A": benchmark(many(folder, count))})
    environ = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    third = tmp_path / "out-three"

    def words(name: str) -> tuple[str, ...]:
        return ("--registry", str(registries[name]), "--executor", "venv")

    first = begin(*words("one"), outputs=tmp_path / "out-one", environ=environ)
    wait_until(lambda: sum(asked(first.run, "m").values()) >= 2, first, "2 asked")
    at_work = processes_of(first)
    for process in at_work:
        os.kill(process, signal.SIGSTOP)  # as long as it takes
    run = of(first)
    beside = matrix(*words("two"), "--output-root", str(tmp_path / "out-two"), "--json", environ=environ)
    assert beside.code == 0, beside.err
    assert [record["conditions"]["gpu_ids"] for record in beside.run.records.values()] == [[gpus[1]]], "the other one"

    theirs = ("--gpus", gpus[0])
    busy = matrix(*words("three"), *theirs, "--output-root", str(third), "--json", environ=environ)
    assert busy.code == 75, busy.err
    (record,) = busy.run.records.values()
    assert (record["status"], record["metrics"]) == ("skipped", [])
    assert f"held by run {run.root.name}" in record["reason"], record["reason"]

    waiting = begin(*words("three"), *theirs, "--wait", outputs=third, environ=environ)
    wait_until(lambda: of(waiting).root != busy.run.root, waiting, "it has begun")
    wait_until(lambda: f"held by run {run.root.name}" in log_of(waiting), waiting, "it waits")
    os.kill(first.process.pid, signal.SIGKILL)
    for process in at_work:
        os.kill(process, signal.SIGCONT)
    first.process.communicate()
    said = waiting.end()
    assert said.code == 0, (said.err, said.out)
    assert (len(asked(of(waiting), "m")), twice(of(waiting), "m")) == (ROWS, [])
    assert [record["conditions"]["gpu_ids"] for record in of(waiting).records.values()] == [[gpus[0]]]

    after = resume(first.outputs, environ=environ)
    assert after.root == run.root
    assert len(asked(after, "m")) == 3000
    assert len(twice(after, "m")) <= 1
    done = resume(third, run=busy.run.root.name, environ=environ)
    assert asked(done, "m") == {}, "the run that waited has answered it"
