"""What a container keeps from the code inside it, and what the engine refuses, seen on a real engine."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.claims.process import this_process
from orchestrator.executors.container_config import UNPRIVILEGED
from orchestrator.executors.container_engine import Engine
from orchestrator.executors.container_found import owner_of
from orchestrator.executors.protocol import Job, Mount, Needs, Status, Stop
from tests.integration.executors.conftest import PROJECT, Bench, container_bench

pytestmark = pytest.mark.engine


def read(path: Path) -> dict[str, object]:
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def test_sandbox_seen_from_inside(any_bench: Bench) -> None:
    job = any_bench.job("sandbox")
    outcome = any_bench.run(job, needs=Needs(shm_gb=0.5, tmp_gb=0.25))
    assert (outcome.status, outcome.reason) == (Status.OK, "")
    seen = read(job.out / "sandbox.json")
    uid = os.getuid() or UNPRIVILEGED
    status = seen["status"]
    assert isinstance(status, dict)
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == [str(uid)] * 4
    assert seen["writable"] == ["/dev/mqueue", "/dev/shm", "/lockstep/work/out", "/tmp", "/tmp/home"]
    assert seen["interfaces"] == ["lo"]
    assert seen["connect"] == "Network is unreachable"
    assert seen["own_address"] == "127.0.0.1"
    assert seen["engine_sockets"] == []
    assert isinstance(seen["processes"], list)
    assert len(seen["processes"]) == 2  # init and the job: no other process can be seen
    assert (seen["shm"], seen["tmp"]) == (2**29, 2**28)


def test_scratch_space_is_bounded(any_bench: Bench) -> None:
    job = any_bench.job("fill", "/tmp")
    assert any_bench.run(job, needs=Needs(tmp_gb=0.0625)).status is Status.OK
    assert read(job.out / "full.json") == {"mib": 64, "error": "No space left on device"}


def test_more_memory_than_allowed_is_oom(docker_bench: Bench) -> None:
    outcome = docker_bench.run(docker_bench.job("allocate"), needs=Needs(memory_gb=0.0625))
    assert outcome.status is Status.OOM
    assert outcome.reason.startswith("killed by the kernel for want of more than its 0.0625 GB of memory")


def test_inputs_cannot_be_written(any_bench: Bench) -> None:
    job = any_bench.job("fill", "cache")
    outcome = any_bench.run(job)
    assert outcome.status is Status.FAILED
    assert "Read-only file system" in outcome.reason


def test_no_gpu_without_asking(any_bench: Bench) -> None:
    job = any_bench.job("look")
    any_bench.run(job)
    environ = read(job.out / "look.json")["environ"]
    assert isinstance(environ, dict)
    assert environ["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_gpus_are_refused_clearly_where_the_engine_has_none(docker_bench: Bench, docker_engine: Engine) -> None:
    if "nvidia" in docker_engine.api.info().get("Runtimes", {}):
        pytest.skip("this engine can give GPUs to containers")
    outcome = docker_bench.run(docker_bench.job("look"), needs=Needs(gpus=("GPU-aaaa",)))
    assert outcome.status is Status.INFRA
    assert "the engine cannot give GPUs to containers: install the NVIDIA Container Toolkit" in outcome.reason
    assert docker_bench.leftovers() == []


def test_a_program_that_is_not_there_leaves_nothing(
    docker_engine: Engine, docker_image: tuple[str, str], tmp_path: Path
) -> None:
    bench = container_bench(docker_engine, docker_image, tmp_path, "/no/such/program")
    job = bench.job("look")
    outcome = bench.run(job)
    assert outcome.status is Status.INFRA
    assert outcome.reason.startswith("the runner could not be started: ")
    assert "/no/such/program" in outcome.reason
    assert bench.leftovers() == []
    assert job.out.stat().st_uid == os.getuid()


def test_an_image_that_is_gone_names_the_remedy(docker_engine: Engine, tmp_path: Path) -> None:
    bench = container_bench(docker_engine, ("sha256:" + "0" * 64, "python"), tmp_path)
    outcome = bench.run(bench.job("look"))
    assert outcome.status is Status.INFRA
    assert "make images ENV=tf-4.37" in outcome.reason


def test_labels_and_log_bound_while_it_runs(docker_bench: Bench, docker_engine: Engine) -> None:
    job = docker_bench.job("sleep", identity="1" * 64)
    stop = Stop()
    seen: list[Any] = []

    def log(line: str) -> None:
        if line == "ready":
            seen.extend(docker_engine.api.inspect_container(found) for found in docker_bench.leftovers())
            stop.set()

    docker_bench.executor.run(job, needs=Needs(), stop=stop, log=log)
    (inspected,) = seen
    labels = inspected["Config"]["Labels"]
    assert labels["org.lockstep.project"] == PROJECT
    assert labels["org.lockstep.run"] == job.run_id
    assert labels["org.lockstep.job"] == "llava@tf-4.37"
    assert labels["org.lockstep.identity"] == "1" * 64
    assert owner_of(labels) == this_process()
    assert inspected["HostConfig"]["LogConfig"]["Config"] == {"max-size": "32m", "max-file": "2"}


def test_close_leaves_other_runs_alone(
    docker_bench: Bench, docker_engine: Engine, docker_image: tuple[str, str]
) -> None:
    job = docker_bench.job("fail", "0")

    def left_by(run_id: str) -> str:
        labels = {"org.lockstep.project": PROJECT, "org.lockstep.run": run_id}
        config = {"Image": docker_image[0], "Cmd": ["x"], "Labels": labels}
        return str(docker_engine.api.create_container_from_config(config)["Id"])

    other = left_by("another-run")
    try:
        left_by(job.run_id)
        docker_bench.run(job)
        docker_bench.executor.close()
        assert docker_bench.leftovers() == [other]
    finally:
        docker_engine.api.remove_container(other)


def test_links_that_a_job_leaves_are_not_followed(any_bench: Bench, tmp_path: Path) -> None:
    """A job that makes `error.json` a link to a file of the host must not make the host read or own it."""
    target = tmp_path / "private"
    target.write_text('{"kind": "oom"}', encoding="utf-8")
    job: Job = any_bench.job("-c", f"import os, sys; os.symlink({str(target)!r}, 'work/out/error.json'); sys.exit(5)")
    outcome = any_bench.run(replace(job, arguments=job.arguments[1:]))
    assert outcome.reason == "runner died: exit 5, and it printed nothing"
    assert (target.stat().st_uid, target.stat().st_gid) == (os.getuid(), os.getgid())


def test_a_mount_inside_another_one(any_bench: Bench, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "weights").write_text("w", encoding="utf-8")
    job = any_bench.job("-c", "print(open('cache/hub/weights').read())")
    job = replace(job, arguments=job.arguments[1:], mounts=(*job.mounts, Mount(source=inner, target="cache/hub")))
    assert any_bench.run(job).status is Status.OK
    assert any_bench.lines == ["w"]
