"""Planted tokens, a model that looks for them, and data files with code in them: what reaches whom, seen on a whole run."""

from __future__ import annotations

import base64
import csv
import json
import re
import secrets
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors import project_name
from orchestrator.layout import PROJECT
from tests.integration.command import Run, Said, Started, matrix, start, terminate
from tests.integration.conftest import Docker
from tests.integration.small_registry import POPE, benchmark, guess, pope, write

pytestmark = pytest.mark.engine

TOKENS = {"HF_TOKEN": f"hf_{secrets.token_hex(16)}", "OPENAI_API_KEY": f"sk-{secrets.token_hex(16)}"}
SPY = Path(__file__).with_name("inside_spy.py")
HELD = "spy@tf-4.37"  # its container stays until it was looked at from outside
NASTY = "=1+1 ../../etc\u202egnp " + "x" * 280  # a formula, a path, a change of direction, a long name
EXACT = {"dataset": "GQA_TestDev_Balanced", "type": "exact", "metric": {"id": "accuracy", "unit": "%", "max": 100}}
CODE = """
import json, os, socket
def said(attempt):
    try:
        return str(attempt())
    except Exception as error:
        return type(error).__name__
found = {
    "read": said(lambda: open(HOST + "/private").read()),
    "written": said(lambda: open(HOST + "/written", "w").write("x")),
    "connected": said(lambda: socket.create_connection(("192.0.2.1", 80), timeout=3)),
    "environ": dict(os.environ),
}
open("/lockstep/work/out/ran.json", "w").write(json.dumps(found))
"""


def forms() -> list[bytes]:
    """The planted values as they are, and as programs write them on: in base64 and in hexadecimal digits."""
    values = [value.encode() for value in TOKENS.values()]
    inner = [base64.b64encode(b"\0" * shift + value)[4:-4] for value in values for shift in range(3)]
    return [*values, *inner, *(value.hex().encode() for value in values)]


def holds_a_token(content: bytes) -> bool:
    return any(form in content for form in forms())


def leaking(folder: Path) -> list[str]:
    """Files below `folder` with a planted value in them; workbooks are opened."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            contents = [path.read_bytes()]
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as book:
                    contents += [book.read(name) for name in book.namelist()]
            found += [str(path)] if any(holds_a_token(content) for content in contents) else []
    return found


@dataclass
class Onlooker:
    """Another user of the machine who may ask the engine and see the arguments of all processes."""

    docker: Docker
    project: str
    inspected: dict[str, str] = field(default_factory=dict)  # container id → what `inspect` says
    jobs: set[str] = field(default_factory=set)
    processes: set[bytes] = field(default_factory=set)  # arguments and environments inside the containers

    def look(self) -> None:
        for container in self.docker(
            "ps", "-aq", "--no-trunc", f"--filter=label=org.lockstep.project={self.project}"
        ).split():
            try:
                self.inspected[container] = said = self.docker("inspect", container)
            except subprocess.CalledProcessError:
                continue  # it ended meanwhile
            self.jobs.add(json.loads(said)[0]["Config"]["Labels"]["org.lockstep.job"])
            self.processes |= set(_inside(container))

    def watch(self, run: Started, stop: threading.Event) -> None:
        """Until the run ends; then the container that waits for it may go on."""
        while not stop.wait(0.1):
            self.look()
            if HELD in self.jobs:
                (run.run.root / "spy" / "tf-4.37" / "go").touch()


def _inside(container: str) -> Iterator[bytes]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if container in (folder / "cgroup").read_text():
                yield (folder / "cmdline").read_bytes()
                yield (folder / "environ").read_bytes()
        except OSError:
            continue


def arguments_of_all() -> list[bytes]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / "cmdline").read_bytes())
        except OSError:
            continue
    return found


def spy(folder: Path) -> Path:
    """The demo's remote-code model, answering with all that it can find out."""
    (demo,) = (PROJECT / "demo" / "hub" / "models--lockstep-demo--tiny-remote" / "snapshots").iterdir()
    made = shutil.copytree(demo, folder / "spy")
    code = (made / "modeling_tiny.py").read_text(encoding="utf-8")
    code = code.replace("CLIPVisionModel.from_pretrained(config.vision_name)", "nn.Identity()")
    code = code.replace("CLIPImageProcessor.from_pretrained(config.vision_name)", "None")
    code = code.replace("        embed = ", f"        return spied({TOKENS['HF_TOKEN'][::-1]!r})\n        embed = ", 1)
    spied = SPY.read_text(encoding="utf-8")
    (made / "modeling_tiny.py").write_text(f"{code}\n\n{spied}\n\n{code_about(folder)}", encoding="utf-8")
    return made


def code_about(folder: Path) -> str:
    """Python that looks around and leaves what it found in the job's output; `host` is a folder beside the run's."""
    host = folder / "host"
    if not host.exists():
        host.mkdir()
        (host / "private").write_text("private", encoding="utf-8")
        (host / "private").chmod(0o644)
    return f"HOST = {str(host)!r}\n{CODE}"


def evil(folder: Path, name: str, column: str) -> Path:
    """The first cells of a column are expressions, in both forms that VLMEvalKit by itself would run."""
    with POPE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if len(row["image"]) > 64][:4]
    code = base64.b64encode(code_about(folder).encode()).decode()
    run = f"exec(__import__('base64').b64decode('{code}').decode(), {{}})"
    rows[0][column] = f"[({run}, {rows[0][column]!r})[1]]"
    if column != "image":
        rows[1][column] = run
    path = folder / f"{name}.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


@dataclass(frozen=True, kw_only=True)
class Night:
    """One whole run with planted tokens, and what could be seen of it from outside."""

    said: Said
    run: Run
    onlooker: Onlooker
    project: Path
    folder: Path
    arguments: list[bytes]
    image: str


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, with a .env, and one byte more in the runner: its image is built anew."""
    root = tmp_path_factory.mktemp("copied") / "lockstep"
    for name in ("orchestrator", "runner", "requirements-locks", "images"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_matrix.py", "registry.yaml"):
        shutil.copy(PROJECT / name, root / name)
    with (root / "runner" / "lockstep_runner" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write(f"# {secrets.token_hex(8)}\n")
    (root / ".env").touch(mode=0o600)
    (root / ".env").write_text(f"OPENAI_API_KEY={TOKENS['OPENAI_API_KEY']}\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def night(copied: Path, docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    registry = write(
        folder,
        models={
            "spy": guess(kind="remote-code", path=str(spy(folder)), trust_remote_code=True),
            "guess": guess(),
            NASTY: guess(),
        },
        benchmarks={
            "Good": benchmark(pope(folder, "good")),
            "Evil": benchmark(evil(folder, "Evil", "answer"), **EXACT),
        },
    )
    environ = {"HF_TOKEN": TOKENS["HF_TOKEN"]}
    words = ("--registry", str(registry))
    built = matrix("images", "tf-4.37", *words, project=copied, environ=environ)
    assert built.code == 0, built.err
    onlooker = Onlooker(docker=docker, project=project_name(copied))
    options = ("--models", "all", "--limit", "2", "--executor", "docker", "--json")
    started = start(*words, *options, outputs=folder / "out", environ=environ, project=copied)
    stop = threading.Event()
    watching = threading.Thread(target=onlooker.watch, args=(started, stop))
    watching.start()
    try:
        arguments = arguments_of_all()
        said = started.end()
    finally:
        stop.set()
        watching.join()
        if started.process.poll() is None:
            terminate(started)
    run = Run(root=folder / "out" / "latest")
    image = next(iter(json.loads((run.root / "run.json").read_bytes())["images"].values()))["image"]
    yield Night(said=said, run=run, onlooker=onlooker, project=copied, folder=folder, arguments=arguments, image=image)
    docker("rmi", "--force", image)


def answers(night: Night) -> list[dict[str, Any]]:
    return night.run.lines("spy/tf-4.37/Good/infer/predictions.jsonl")


def test_the_run_is_fine_and_was_seen(night: Night) -> None:
    assert (night.said.code, night.said.unusual) == (0, []), night.said
    assert {record["status"] for record in night.run.records.values()} == {"ok"}
    assert {HELD} <= night.onlooker.jobs
    assert any(b"lockstep_runner" in arguments for arguments in night.onlooker.processes)


def test_the_model_sees_its_job_and_no_token(night: Night) -> None:
    """What it answers is all that it could find; it looked, for it found its own job and variables."""
    found = answers(night)[0]["answer"]
    assert "HOME=/tmp/home" in found
    assert '"key": "spy@tf-4.37"' in found
    assert "bytes of /proc/1/environ" in found
    assert not holds_a_token(found.encode())
    names = set(re.findall(r"^variable (\w+)=", found, re.MULTILINE))
    assert not {
        name for name in names if re.search("TOKEN|KEY|SECRET|PROXY|DOCKER|SSH", name) and "PARALLELISM" not in name
    }


def test_no_token_in_anything_that_is_left(night: Night) -> None:
    assert leaking(night.folder / "out") == []
    assert leaking(night.project) == [str(night.project / ".env")]
    assert not holds_a_token((night.said.out + night.said.err).encode())


def test_no_token_in_what_the_engine_and_the_machine_show(night: Night, docker: Docker) -> None:
    assert not [one for one in night.onlooker.inspected.values() if holds_a_token(one.encode())]
    assert not [one for one in night.onlooker.processes if holds_a_token(one)]
    assert not [one for one in night.arguments if holds_a_token(one)]
    shown = docker("image", "inspect", night.image) + docker("history", "--no-trunc", night.image)
    assert "lockstep_runner" in shown
    assert not holds_a_token(shown.encode())


def test_a_token_that_a_model_prints_is_not_in_its_log(night: Night) -> None:
    """It had it from elsewhere: the value is known to the host, which strikes it out."""
    log = (night.run.root / "logs" / f"{HELD}.log").read_text(encoding="utf-8")
    assert re.search(r"^it prints \*\*\* and \*\*\*.{0,2}=*$", log, re.MULTILINE), log


def test_a_models_own_code_runs_in_the_sandbox_alone(night: Night) -> None:
    assert (night.folder / "host" / "private").read_text(encoding="utf-8") == "private"
    assert not (night.folder / "host" / "written").exists()
    (ran,) = night.run.root.rglob("ran.json")
    assert "spy" in ran.relative_to(night.run.root).parts
    found = json.loads(ran.read_text(encoding="utf-8"))
    assert (found["read"], found["written"]) == ("FileNotFoundError", "FileNotFoundError")
    assert found["connected"] == "OSError"
    assert not holds_a_token(json.dumps(found).encode())


def test_code_in_a_right_answer_is_a_text(night: Night) -> None:
    """VLMEvalKit would run it; that only the model's own code ran, the test above says."""
    assert night.run.records["guess", "tf-4.37", "Evil"]["status"] == "ok"
    references = [line["reference"] for line in night.run.lines("guess/tf-4.37/Evil/evaluate/scores.jsonl")]
    assert any("exec(__import__" in reference for reference in references)


def test_code_in_the_place_of_a_picture_is_refused(night: Night, tmp_path: Path) -> None:
    file = evil(tmp_path, "Picture", "image")
    registry = write(tmp_path, models={"guess": guess()}, benchmarks={"Picture": benchmark(file)})
    words = ("--registry", str(registry), "--executor", "docker", "--output-root", str(tmp_path / "out"), "--json")
    said = matrix(*words, project=night.project)
    assert said.code != 0
    assert "cells are not run as Python" in said.out + said.err
    assert not list(tmp_path.rglob("ran.json"))
    assert not (tmp_path / "host" / "written").exists()


def test_a_nasty_name_is_a_name(night: Night) -> None:
    assert night.run.records[NASTY, "tf-4.37", "Good"]["status"] == "ok"
    (row, *_) = [row for row in night.run.rows if row["model"].endswith("x" * 280)]
    assert row["model"] == "'" + NASTY.replace("\u202e", "\\u202e")
    assert all(len(path.name) <= 120 for path in night.run.root.rglob("*"))
    assert sorted(path.name for path in night.folder.iterdir()) == sorted(
        ["Evil.tsv", "good.tsv", "host", "out", "registry.yaml", "spy"]
    )
