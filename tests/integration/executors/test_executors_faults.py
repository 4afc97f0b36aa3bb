"""Faults injected into a job that is at work: what they are called, what the reason says, and that its files survive."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import Unavailable
from orchestrator.executors.container_config import LOG_KEPT
from orchestrator.executors.container_engine import Engine
from orchestrator.executors.protocol import Job, Needs, Outcome, Status, Stop
from tests.integration.executors import tiny_image
from tests.integration.executors.conftest import Bench, container_bench

# a job that writes without end is cut off at 64 MB; this is several times that, and takes seconds where 10 GB take minutes
CHATTER_MIB = 300


def when_ready(bench: Bench, job: Job, act: Callable[[str], Any], needs: Needs | None = None) -> Outcome:
    """Run, and do something to its container once it says `ready`."""

    def log(line: str) -> None:
        bench.lines.append(line)
        if line == "ready":
            act(bench.leftovers()[0])

    return bench.executor.run(job, needs=needs or Needs(), stop=Stop(), log=log)


def survived(job: Job) -> bool:
    """What it wrote is whole, and its caller's."""
    file = job.out / "partial.json"
    return bool(json.loads(file.read_text(encoding="utf-8")) == {"done": 1} and file.stat().st_uid == os.getuid())


@pytest.mark.fault
@pytest.mark.engine
def test_a_container_killed_from_outside_is_infra(any_bench: Bench) -> None:
    job = any_bench.job("sleep")
    assert any_bench.engine is not None
    outcome = when_ready(any_bench, job, any_bench.engine.api.kill)
    assert outcome.status is Status.INFRA
    assert outcome.reason == "killed from outside (137 SIGKILL); last seen in infer, POPE/infer, sample 412"
    assert outcome.stage == "POPE/infer"
    assert survived(job)


@pytest.mark.fault
@pytest.mark.engine
def test_a_container_removed_by_somebody_is_infra(any_bench: Bench) -> None:
    job = any_bench.job("sleep")
    engine = any_bench.engine
    assert engine is not None
    outcome = when_ready(any_bench, job, lambda container: engine.api.remove_container(container, force=True))
    assert outcome.status is Status.INFRA
    assert "make images" not in outcome.reason
    assert survived(job)


@pytest.mark.fault
@pytest.mark.engine
def test_more_memory_than_its_limit_is_oom(docker_bench: Bench) -> None:
    """For podman see its own tests: its engine does not tell."""
    job = docker_bench.job("allocate")
    outcome = docker_bench.run(job, needs=Needs(memory_gb=0.0625))
    assert outcome.status is Status.OOM
    assert outcome.reason.startswith(
        "killed by the kernel for want of more than its 0.0625 GB of memory; last seen in "
    )
    assert outcome.stage == "POPE/infer"
    assert survived(job)
    assert docker_bench.leftovers() == []


@pytest.mark.fault
def test_a_hang_is_named_by_phase_and_sample(bench: Bench) -> None:
    job = bench.job("sleep")
    outcome = bench.run(job, needs=Needs(stall_seconds=5))
    assert outcome.status is Status.TIMEOUT
    assert outcome.reason == "no event for 5 s; hung in infer, POPE/infer, sample 412"
    assert outcome.stage == "POPE/infer"
    assert survived(job)


@pytest.mark.fault
def test_a_stage_has_its_own_limit_and_one_that_is_deaf_is_killed(bench: Bench) -> None:
    job = bench.job("deaf")
    outcome = bench.run(job, needs=Needs(stage_seconds={"POPE/infer": 1}, timeout_seconds=600, stall_seconds=600))
    assert outcome.status is Status.TIMEOUT
    assert outcome.reason == "POPE/infer not finished after 1 s; last seen in infer, POPE/infer, sample 412"
    assert outcome.conditions["exit_code"] == 128 + signal.SIGKILL
    assert survived(job)


def test_limits_that_are_kept_change_nothing(bench: Bench) -> None:
    needs = Needs(stage_seconds={"POPE/infer": 600}, timeout_seconds=600, stall_seconds=600)
    assert bench.run(bench.job("look"), needs=needs).status is Status.OK


@contextmanager
def released(job: Job, bench: Bench, look: Callable[[], None]) -> Iterator[None]:
    """In a thread of its own: once the job has said all, look at it, then let it end."""

    def follow() -> None:
        try:
            for _ in range(2400):
                if (job.out / "said.json").exists():
                    look()
                    break
                time.sleep(0.05)
        finally:
            bench.go_on(job)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.fault
def test_a_log_without_end_is_bounded(bench: Bench) -> None:
    job = bench.job("chatter", str(CHATTER_MIB))
    said: list[int] = []
    last: list[str] = []
    on_disk: list[int] = []

    def log(line: str) -> None:
        said.append(len(line) + 1)
        last[:] = [line]

    def look() -> None:
        if bench.engine is not None and os.getuid() == 0:
            path = Path(bench.engine.api.inspect_container(bench.leftovers()[0])["LogPath"])
            on_disk.append(sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with released(job, bench, look):
        assert bench.executor.run(job, needs=Needs(), stop=Stop(), log=log).status is Status.OK
    assert sum(said) < 65 * 2**20
    assert last == ["… the job printed more than 67108864 characters: the rest is not kept"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10  # KiB
    assert LOG_KEPT == {"max-size": "32m", "max-file": "2"}
    if bench.engine is not None and os.getuid() == 0:
        assert 0 < on_disk[0] < 2 * 34 * 10**6


@pytest.mark.fault
@pytest.mark.engine
def test_an_image_removed_between_plan_and_run_is_infra(docker_engine: Engine, tmp_path: Path) -> None:
    image = tiny_image.load(docker_engine.api, [Path("/bin/true").resolve()])
    bench = container_bench(docker_engine, (image, "/bin/true"), tmp_path)
    bench.executor.prepare("tf-4.37")
    docker_engine.api.remove_image(image, force=True)
    job = bench.job("look")
    outcome = bench.run(job)
    assert outcome.status is Status.INFRA
    assert outcome.reason.startswith("the engine lacks its image (")
    assert outcome.reason.endswith("): make images ENV=tf-4.37")
    assert job.out.stat().st_uid == os.getuid()


def test_a_secret_is_a_file_and_nothing_else(bench: Bench) -> None:
    job = bench.job("reveal", "HF_TOKEN", secrets={"HF_TOKEN": "planted-hunter2"})
    seen: list[str] = []

    def log(line: str) -> None:
        bench.lines.append(line)
        if line == "ready":
            if bench.engine is not None:
                seen.append(json.dumps(bench.engine.api.inspect_container(bench.leftovers()[0])))
            bench.go_on(job)

    outcome = bench.executor.run(job, needs=Needs(), stop=Stop(), log=log)
    assert (outcome.status, outcome.reason) == (Status.OK, "")
    inside = json.loads((job.out / "seen.json").read_text(encoding="utf-8"))
    assert inside["sha256"] == hashlib.sha256(b"planted-hunter2").hexdigest()
    assert inside["mode"] == 0o400
    assert inside["refused"] is bench.executor.isolated
    assert "planted-hunter2" not in repr((job, bench.lines, outcome, seen))
    assert "work/secrets" in seen[0] if seen else not bench.executor.isolated
    planted = [p for p in job.folder.parent.rglob("*") if p.is_file() and b"planted-hunter2" in p.read_bytes()]
    assert planted == []


def test_its_own_variables_and_the_hub_where_it_has_the_network(bench: Bench) -> None:
    job = bench.job("look", environ={"HF_ENDPOINT": "https://mirror.example"})
    assert bench.run(job).status is Status.OK
    environ = json.loads((job.out / "look.json").read_text(encoding="utf-8"))["environ"]
    assert environ["HF_ENDPOINT"] == "https://mirror.example"
    assert (environ["HF_HUB_OFFLINE"], environ["TRANSFORMERS_OFFLINE"]) == ("1", "1")


@pytest.mark.engine
def test_only_a_job_that_asks_for_it_has_the_network(
    docker_engine: Engine, docker_image: tuple[str, str], tmp_path: Path
) -> None:
    bench = container_bench(docker_engine, docker_image, tmp_path, fetch_network="host")
    for network, interfaces in ((True, {name for _, name in socket.if_nameindex()}), (False, {"lo"})):
        job = bench.job("sandbox", network=network)
        assert bench.run(job).status is Status.OK
        assert set(json.loads((job.out / "sandbox.json").read_text())["interfaces"]) == interfaces
        assert bench.run(bench.job("look", network=network)).status is Status.OK
        environ = json.loads((job.out / "look.json").read_text())["environ"]
        assert ("HF_HUB_OFFLINE" in environ) is not network
    bench.executor.close()
    assert bench.leftovers() == []


@pytest.mark.fault
def test_whether_a_job_lives_is_an_error_where_no_engine_answers(docker_bench: Bench, tmp_path: Path) -> None:
    executor: Any = docker_bench.executor
    executor._engine = Engine(api=_Gone(), facts=executor._engine.facts, address="")
    with pytest.raises(Unavailable, match="docker engine: Connection refused"):
        executor.alive("run", "key")


class _Gone:
    """An engine that nobody answers for any more."""

    def containers(self, **_: object) -> list[Any]:
        raise ConnectionRefusedError(111, "Connection refused")
