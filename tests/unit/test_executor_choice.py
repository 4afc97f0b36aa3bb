"""Which executor is taken, and what an engine is asked for; no engine is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from docker.errors import APIError

from orchestrator.claims.process import Process
from orchestrator.errors import Unavailable, UsageError
from orchestrator.executors import Backing, choose, project_name
from orchestrator.executors.container_config import EngineFacts, RunAs, configure, labels, run_as, unkept
from orchestrator.executors.container_engine import describe, explain, read_facts
from orchestrator.executors.container_found import owner_of
from orchestrator.executors.protocol import Job, Mount, Needs

OWNER = Process(host="node", boot="b", pid=7, start="123")
DOCKER = EngineFacts(kind="docker", version=(20, 10))


def backing(root: Path) -> Backing:
    def none(environment: str) -> Any:
        raise AssertionError(environment)

    return Backing(root=root, resolve_image=none, recipe=none, uv=lambda: "uv", venvs=root, runner=root)


def nowhere(folder: Path) -> dict[str, str]:
    return {"DOCKER_HOST": f"unix://{folder}/no.sock", "CONTAINER_HOST": f"unix://{folder}/no.sock"}


@pytest.mark.parametrize(("name", "remedy"), [("docker", "systemctl start docker"), ("podman", "start podman.socket")])
def test_one_that_is_asked_for_and_absent_is_an_error(tmp_path: Path, name: str, remedy: str) -> None:
    with pytest.raises(Unavailable) as caught:
        choose(name, backing(tmp_path), environ=nowhere(tmp_path))
    (line,) = caught.value.problems
    assert line.startswith(
        f"no {name} engine answers at unix://{tmp_path}/no.sock (No such file or directory): start it"
    )
    assert remedy in line
    assert "python run_matrix.py --executor venv" in line


def test_auto_says_in_one_line_that_it_takes_venvs(tmp_path: Path) -> None:
    said: list[str] = []
    executor = choose("auto", backing(tmp_path), say=said.append, environ=nowhere(tmp_path))
    assert (executor.name, executor.isolated) == ("venv", False)
    (line,) = said
    assert line.startswith("no docker engine answers at ")
    assert line.endswith("; the same locks are used in venvs, without isolation")


def test_venv_asks_no_engine(tmp_path: Path) -> None:
    said: list[str] = []
    assert choose("venv", backing(tmp_path), say=said.append, environ=nowhere(tmp_path)).name == "venv"
    assert said == []


def test_an_unknown_name_or_context_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown executor 'dokcer'; did you mean 'docker'"):
        choose("dokcer", backing(tmp_path))
    with pytest.raises(Unavailable, match="there is no docker context 'far-away-and-not-there': docker context ls"):
        choose("docker", backing(tmp_path), environ={"DOCKER_CONTEXT": "far-away-and-not-there"})


def test_projects_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "b" / "x").mkdir(parents=True)
    assert project_name(tmp_path / "a" / "x").startswith("x-")
    assert project_name(tmp_path / "a" / "x") != project_name(tmp_path / "b" / "x")


# Parts of what engines answer to /version and /info: Docker 20.10, Docker 27 rootless, Podman 4.3.1.
NO_ROOT = "without root on cgroups v1"
PODMAN = {"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}], "Version": "4.3.1"}


@pytest.mark.parametrize(
    ("version", "info", "expected"),
    [
        ({"Version": "20.10.24+dfsg1"}, {"SecurityOptions": ["name=seccomp,profile=default"]}, DOCKER),
        (
            {"Version": "27.3.1", "Components": [{"Name": "Engine", "Version": "27.3.1"}]},
            {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]},
            EngineFacts(kind="docker", version=(27, 3), rootless=True),
        ),
        (
            {"Version": "24.0.7"},
            {"SecurityOptions": ["name=userns"]},
            EngineFacts(kind="docker", version=(24, 0), remapped=True),
        ),
        (
            PODMAN,
            {"SecurityOptions": ["name=seccomp,profile=default"], "Rootless": True, "CgroupVersion": "2"},
            EngineFacts(kind="podman", version=(4, 3), rootless=True),
        ),
        (  # podman 4.3.1 without root on cgroups v1: it says that it limits memory, and does not
            PODMAN,
            {"SecurityOptions": [], "Rootless": True, "CgroupVersion": "1", "MemoryLimit": True, "PidsLimit": True},
            EngineFacts(kind="podman", version=(4, 3), rootless=True, unlimited=NO_ROOT),
        ),
        (
            {"Version": "27.3.1"},
            {"SecurityOptions": ["name=rootless"], "CgroupVersion": "2", "CgroupDriver": "none", "MemoryLimit": False},
            EngineFacts(kind="docker", version=(27, 3), rootless=True, unlimited="without cgroups of its own"),
        ),
        (
            {"Version": "20.10.24"},
            {"CgroupVersion": "1", "CgroupDriver": "cgroupfs", "MemoryLimit": False},
            EngineFacts(kind="docker", version=(20, 10), unlimited="on a kernel without the memory cgroup"),
        ),
        (
            {"Components": [{"Name": "Podman Engine", "Version": "5.4.0"}]},
            {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"], "Rootless": True},
            EngineFacts(kind="podman", version=(5, 4), rootless=True),
        ),
        (PODMAN, {"SecurityOptions": None}, EngineFacts(kind="podman", version=(4, 3))),
    ],
)
def test_what_an_engine_says_about_itself(version: dict[str, Any], info: dict[str, Any], expected: EngineFacts) -> None:
    assert read_facts(version, info) == expected


@pytest.mark.parametrize(
    ("facts", "uid", "expected"),
    [
        (DOCKER, 1000, RunAs(user="1000:100")),
        (DOCKER, 0, RunAs(user="10001:10001", owner=10001)),
        (EngineFacts(kind="docker", remapped=True), 1000, RunAs(user="1000:100", userns="host")),
        (EngineFacts(kind="docker", rootless=True), 1000, RunAs(user="0:0")),
        (EngineFacts(kind="podman", rootless=True), 1000, RunAs(user="1000:100", userns="keep-id")),
    ],
)
def test_who_a_container_runs_as(facts: EngineFacts, uid: int, expected: RunAs) -> None:
    assert run_as(facts, uid=uid, gid=100) == expected


def request(
    needs: Needs,
    facts: EngineFacts = DOCKER,
    *,
    folder: Path | None = None,
    secrets: Mapping[str, str] = MappingProxyType({}),
    **changes: object,
) -> dict[str, Any]:
    job = Job(
        key="m@e",
        run_id="r1",
        environment="e",
        folder=Path("/runs/job"),
        mounts=(
            Mount(source=Path("/runs/job/work/job.json"), target="work/job.json"),
            Mount(source=Path("/runs/out"), target="work/out", writable=True),
        ),
    )
    job = replace(job, secrets=secrets, **changes)  # type: ignore[arg-type]
    return configure(
        job,
        needs=needs,
        image="sha256:1",
        command=("python", "-m", "x"),
        who=RunAs(user="1:1"),
        facts=facts,
        labels=labels("p", job, OWNER),
        fetch_network="sitenet",
        secrets=folder,
    )


def test_only_the_output_can_be_written() -> None:
    host: Any = request(Needs())["HostConfig"]
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/runs/job/work/job.json", "Target": "/lockstep/work/job.json", "ReadOnly": True},
        {"Type": "bind", "Source": "/runs/out", "Target": "/lockstep/work/out", "ReadOnly": False},
    ]
    assert host["ReadonlyRootfs"] is True
    assert host["NetworkMode"] == "none"


def test_labels_say_what_it_is_and_whose() -> None:
    prefix = "org.lockstep."
    plain = {f"{prefix}project": "p", f"{prefix}run": "r1", f"{prefix}job": "m@e"}
    owner = {f"{prefix}host": "node", f"{prefix}boot": "b", f"{prefix}pid": "7", f"{prefix}start": "123"}
    assert request(Needs())["Labels"] == plain | owner
    assert request(Needs(), identity="f" * 64)["Labels"] == plain | owner | {f"{prefix}identity": "f" * 64}
    assert owner_of(request(Needs())["Labels"]) == OWNER
    assert owner_of(plain) is None
    assert owner_of(plain | owner | {f"{prefix}pid": "x"}) is None


def test_the_network_and_the_hub_are_for_a_job_that_asks() -> None:
    offline = {"HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1"}
    asked = request(Needs(), network=True, environ={"HTTPS_PROXY": "http://proxy:3128", "LANG": "C"})
    assert asked["HostConfig"]["NetworkMode"] == "sitenet"
    assert not offline & set(asked["Env"])
    assert {"HTTPS_PROXY=http://proxy:3128", "LANG=C"} <= set(asked["Env"])
    assert "LANG=C.UTF-8" not in asked["Env"]
    assert offline <= set(request(Needs())["Env"])


def test_secrets_are_a_folder_and_no_word_of_the_request(tmp_path: Path) -> None:
    asked = request(Needs(), folder=tmp_path, secrets={"HF_TOKEN": "planted-hunter2"})
    mounts: Any = asked["HostConfig"]["Mounts"]
    assert mounts[-1] == {
        "Type": "bind",
        "Source": str(tmp_path.resolve()),
        "Target": "/lockstep/work/secrets",
        "ReadOnly": True,
    }
    assert "hunter2" not in str(asked)


def test_gpus_are_requested_by_uuid_only() -> None:
    asked = request(Needs(gpus=("GPU-a", "GPU-b")))
    host: Any = asked["HostConfig"]
    assert host["DeviceRequests"] == [{"DeviceIDs": ["GPU-a", "GPU-b"], "Capabilities": [["gpu"]]}]
    assert not [v for v in asked["Env"] if v.startswith(("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"))]
    host = request(Needs(gpus=("GPU-a",)), EngineFacts(kind="podman", version=(5, 4)))["HostConfig"]
    assert host["DeviceRequests"][0]["DeviceIDs"] == ["nvidia.com/gpu=GPU-a"]


def test_the_runner_is_told_which_gpus_it_should_see() -> None:
    assert "LOCKSTEP_GPUS=GPU-a,GPU-b" in request(Needs(gpus=("GPU-a", "GPU-b")))["Env"]
    assert not [v for v in request(Needs())["Env"] if v.startswith("LOCKSTEP_")]


def test_what_an_engine_would_leave_out_without_a_word_is_refused() -> None:
    here = EngineFacts(kind="podman", version=(4, 3), rootless=True, unlimited=NO_ROOT)
    said = unkept(Needs(memory_gb=8), here)
    assert said.startswith("podman without root on cgroups v1 keeps no limit of memory and 8 GB is one: take memory_gb")
    assert "python run_matrix.py --executor docker" in said
    assert unkept(Needs(), here) == ""
    assert unkept(Needs(memory_gb=8), DOCKER) == ""
    assert unkept(Needs(gpus=("GPU-a",)), here).startswith("podman before 5.4 drops requests for GPUs")
    assert unkept(Needs(gpus=("GPU-a",)), EngineFacts(kind="podman", version=(5, 4))) == ""


def test_sizes_are_bytes() -> None:
    host: Any = request(Needs(shm_gb=0.5, memory_gb=2, tmp_gb=1))["HostConfig"]
    assert (host["ShmSize"], host["Memory"], host["MemorySwap"]) == (2**29, 2**31, 2**31)
    assert host["Tmpfs"]["/tmp"] == f"rw,exec,nosuid,nodev,mode=1777,size={2**30}"


def test_podman_is_told_what_docker_does_by_itself() -> None:
    host: Any = request(Needs(), EngineFacts(kind="podman", limits={"nofile": 20_000}))["HostConfig"]
    assert host["Ulimits"] == [
        {"Name": "core", "Soft": 0, "Hard": 0},
        {"Name": "nofile", "Soft": 20_000, "Hard": 20_000},
    ]
    assert {place for place, how in host["Tmpfs"].items() if how.startswith("ro,")} == {"/run", "/var/tmp"}
    assert set(request(Needs())["HostConfig"]["Tmpfs"]) == {"/tmp", "/tmp/home"}


def test_errors_are_one_line() -> None:
    wrapped = APIError("500 Server Error", explanation='could not select device driver "" with capabilities: [[gpu]]')
    assert explain(wrapped).startswith(
        "the engine cannot give GPUs to containers: install the NVIDIA Container Toolkit"
    )
    assert explain(APIError("400", explanation="bad\nmount " + "x" * 900)).startswith("bad mount xxx")
    assert len(explain(APIError("400", explanation="x" * 900))) == 400
    assert explain(PermissionError(13, "Permission denied")) == "Permission denied"


def test_an_engine_is_described_without_its_address() -> None:
    assert describe(DOCKER) == {"kind": "docker", "version": "20.10", "rootless": False, "remapped": False}
