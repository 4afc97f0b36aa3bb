"""The command that `repro` prints starts the container that the executor starts."""

from __future__ import annotations

import itertools
from pathlib import Path

from orchestrator.executors.command import docker_argv
from orchestrator.executors.container_config import EngineFacts, RunAs, configure
from orchestrator.executors.protocol import Job, Mount, Needs


def config(tmp_path: Path, **needs: object) -> dict[str, object]:
    job = Job(
        key="m@e",
        run_id="r",
        environment="e",
        folder=tmp_path,
        mounts=(Mount(source=tmp_path / "a,b", target="work/out", writable=True),),
    )
    return configure(
        job,
        needs=Needs(**needs),  # type: ignore[arg-type]
        image="sha256:abc",
        command=("/opt/venv/bin/python", "-m", "lockstep_runner"),
        who=RunAs(user="1000:1000"),
        facts=EngineFacts(kind="docker"),
        labels={},
    )


def test_every_wall_of_the_sandbox_is_in_the_command(tmp_path: Path) -> None:
    words = docker_argv(config(tmp_path))
    pairs = set(itertools.pairwise(words))
    for wall in (
        ("--network", "none"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--user", "1000:1000"),
        ("--add-host", "job:127.0.0.1"),
    ):
        assert wall in pairs
    assert "--read-only" in words
    assert words[-4:] == ["sha256:abc", "-m", "lockstep_runner", "work/job.json"]


def test_paths_with_commas_survive(tmp_path: Path) -> None:
    mounts = [word for word in docker_argv(config(tmp_path)) if word.startswith(("type=bind", '"type=bind', "type="))]
    assert any(f'"source={tmp_path}/a,b"' in mount and "readonly" not in mount for mount in mounts)


def test_gpus_by_uuid_and_memory_only_where_asked(tmp_path: Path) -> None:
    words = docker_argv(config(tmp_path, gpus=("GPU-1", "GPU-2"), memory_gb=1))
    assert words[words.index("--gpus") + 1] == '"device=GPU-1,GPU-2"'
    assert words[words.index("--memory") + 1] == str(2**30)
    assert "--gpus" not in docker_argv(config(tmp_path))


def test_a_shell_takes_the_place_of_the_runner(tmp_path: Path) -> None:
    words = docker_argv(config(tmp_path), shell=True)
    assert words[:4] == ["docker", "run", "--rm", "-it"]
    assert words[-2:] == ["/bin/bash", "sha256:abc"]
