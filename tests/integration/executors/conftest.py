"""One bench for all executors: each runs the same small script in the place of the runner."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestrator.errors import Unavailable
from orchestrator.executors.container import ContainerExecutor
from orchestrator.executors.container_engine import Engine, connect, labelled
from orchestrator.executors.protocol import Executor, Job, Mount, Needs, Outcome, Stop
from orchestrator.executors.venv import VenvExecutor
from orchestrator.executors.venv_install import Recipe, VenvStore
from tests.integration.executors import tiny_image
from tests.integration.executors.own_podman import own_podman

SCRIPT = Path(__file__).with_name("inside_job.py")
PROJECT = os.environ.get("LOCKSTEP_TEST_PROJECT") or f"tests-{os.getpid()}"
# The check of a venv that holds nothing: it only writes what every check leaves.
CHECK = "import json, sys; json.dump({'digest': 'sha256:empty'}, open(sys.argv[2], 'w'))"


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    id: str
    tag: str = "lockstep/test:1"
    lock_sha256: str = "1" * 64
    environment_digest: str = "sha256:test"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """An executor and jobs for it. `lines` is what the last job printed."""

    executor: Executor
    folder: Path
    engine: Engine | None = None
    lines: list[str] = field(default_factory=list)

    def job(self, *arguments: str, key: str = "llava@tf-4.37", **changes: object) -> Job:
        """A job that runs the script with these arguments; its folders are made as a run makes them."""
        root = self.folder / key
        work, out, given = root / "job" / "work", root / "out", root / "given"
        for folder in (work, out, given / "first", given / "cache" / "hub"):
            folder.mkdir(parents=True, exist_ok=True)
        (work / "job.json").write_text('{"key": "value"}', encoding="utf-8")
        (given / "first" / "input.txt").write_text("from an earlier stage", encoding="utf-8")
        shutil.copy(SCRIPT, given / SCRIPT.name)
        job = Job(
            key=key,
            run_id=f"run-{self.folder.name}",
            environment="tf-4.37",
            folder=root / "job",
            mounts=(
                Mount(source=out, target="work/out", writable=True),
                Mount(source=given / "first", target="work/in/first"),
                Mount(source=given / "cache", target="cache"),
                Mount(source=given / SCRIPT.name, target="work/in/script.py"),
            ),
            arguments=("work/in/script.py", *arguments),
        )
        return replace(job, **changes)  # type: ignore[arg-type]

    def run(self, job: Job, *, needs: Needs | None = None, stop: Stop | None = None, on: str = "") -> Outcome:
        """Run to the end; where `on` is given, `stop` is set as soon as a line contains it."""
        stop = stop or Stop()
        self.lines.clear()

        def log(line: str) -> None:
            self.lines.append(line)
            if on and on in line:
                threading.Thread(target=stop.set).start()

        return self.executor.run(job, needs=needs or Needs(), stop=stop, log=log)

    def go_on(self, job: Job) -> None:
        """What a job waits for that works until it is told to end."""
        (next(m.source for m in job.mounts if m.target == "work/in/first") / "go").touch()

    def leftovers(self) -> list[str]:
        """Ids of this bench's containers, running or not."""
        return labelled(self.engine, project=PROJECT) if self.engine else []


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    try:
        engine = connect("docker")
    except Unavailable as error:
        pytest.skip(str(error))
    yield engine
    engine.api.close()


@pytest.fixture(scope="session")
def podman_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with own_podman(tmp_path_factory.mktemp("podman")) as engine:
        yield engine


def _image(engine: Engine) -> Iterator[tuple[str, str]]:
    if named := os.environ.get("LOCKSTEP_TEST_IMAGE"):
        yield named, "/opt/venv/bin/python"
        return
    image = tiny_image.load(engine.api, tiny_image.python_files())
    yield image, str(tiny_image.python())
    engine.api.remove_image(image, force=True)


@pytest.fixture(scope="session")
def docker_image(docker_engine: Engine) -> Iterator[tuple[str, str]]:
    """Id of an image with a Python, and where that is; LOCKSTEP_TEST_IMAGE names an environment's image instead."""
    yield from _image(docker_engine)


@pytest.fixture(scope="session")
def podman_image(podman_engine: Engine) -> Iterator[tuple[str, str]]:
    yield from _image(podman_engine)


def container_bench(
    engine: Engine, image: tuple[str, str], folder: Path, *command: str, fetch_network: str = "bridge"
) -> Bench:
    executor = ContainerExecutor(
        engine=engine,
        resolve_image=lambda environment: BuiltImage(id=image[0]),
        project=PROJECT,
        command=command or (image[1],),
        grace=1,
        fetch_network=fetch_network,
    )
    return Bench(executor=executor, folder=folder, engine=engine)


@pytest.fixture
def docker_bench(docker_engine: Engine, docker_image: tuple[str, str], tmp_path: Path) -> Bench:
    return container_bench(docker_engine, docker_image, tmp_path)


@pytest.fixture
def podman_bench(podman_engine: Engine, podman_image: tuple[str, str], tmp_path: Path) -> Bench:
    return container_bench(podman_engine, podman_image, tmp_path)


@pytest.fixture(params=["docker", pytest.param("podman", marks=pytest.mark.heavy)])
def any_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Every engine in turn, for what they must do alike; afterwards nothing of it is left."""
    made: Bench = request.getfixturevalue(f"{request.param}_bench")
    yield made
    made.executor.close()
    assert made.leftovers() == []


@pytest.fixture(scope="session")
def uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.fail("uv is part of requirements-locks/host.txt: make .venv")
    return found


def venv_store(folder: Path, uv: str) -> VenvStore:
    """Makes venvs without packages on this Python."""
    lock = folder / "tf-4.37.txt"
    if not lock.exists():
        lock.write_text("# nothing\n", encoding="utf-8")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    recipe = Recipe(lock=lock, install=lambda uv, python: [], check=("-c", CHECK), python=version)
    return VenvStore(
        folder=folder / "venvs", recipe=lambda environment: recipe, uv=uv, machine="x86_64", say=lambda s: None
    )


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def empty_store(uv: str, store_folder: Path) -> VenvStore:
    return venv_store(store_folder, uv)


@pytest.fixture
def venv_bench(empty_store: VenvStore, tmp_path: Path) -> Bench:
    executor = VenvExecutor(store=empty_store, runner=tmp_path, command=(), grace=1)
    return Bench(executor=executor, folder=tmp_path)


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.engine),
        pytest.param("podman", marks=[pytest.mark.engine, pytest.mark.heavy]),
        pytest.param("venv"),
    ]
)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Every executor in turn; afterwards nothing of it is left."""
    made: Bench = request.getfixturevalue(f"{request.param}_bench")
    yield made
    made.executor.close()
    assert made.leftovers() == []
