"""Requests for GPUs, on a second engine that believes it can grant them: no GPU and no other engine is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import Unavailable
from orchestrator.executors.container_engine import Engine, connect
from orchestrator.executors.protocol import Needs, Status
from tests.integration.executors import tiny_image
from tests.integration.executors.conftest import container_bench

pytestmark = pytest.mark.engine2
GPUS = ("GPU-5cc1a9b0-1f1e-4f0e-9b1c-aaaaaaaaaaaa", "GPU-5cc1a9b0-1f1e-4f0e-9b1c-bbbbbbbbbbbb")


def _answering(address: str, process: subprocess.Popen[bytes], log: Path) -> Engine:
    for _ in range(120):
        try:
            return connect("docker", {"DOCKER_HOST": address})
        except Unavailable:
            if process.poll() is not None:
                break
            time.sleep(0.25)
    pytest.fail(f"the second engine does not answer: {log.read_text(encoding='utf-8')[-2000:]}")


@pytest.fixture(scope="module")
def second_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """dockerd with its own data and socket, in its own network namespace: else it would rebuild the first one's bridge.

    An executable named nvidia-container-runtime-hook on its PATH is all that makes it accept requests for GPUs.
    """
    if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("unshare"):
        pytest.skip("a second engine needs root, dockerd and unshare")
    folder = Path(tmp_path_factory.mktemp("engine"))
    hook = folder / "bin" / "nvidia-container-runtime-hook"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    hook.chmod(0o755)
    socket, log = folder / "engine.sock", folder / "engine.log"
    options = [f"--host=unix://{socket}", f"--data-root={folder}/data", f"--exec-root={folder}/exec"]
    options += [f"--pidfile={folder}/engine.pid", "--storage-driver=vfs", "--iptables=false"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--net", "dockerd", *options],
            env={**os.environ, "PATH": f"{hook.parent}:{os.environ['PATH']}"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        engine = None
        try:
            engine = _answering(f"unix://{socket}", process, log)
            yield engine
        finally:
            if engine is not None:
                engine.api.close()
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def test_gpus_are_requested_by_uuid(second_engine: Engine, tmp_path: Path) -> None:
    program = Path(shutil.which("env") or "/usr/bin/env").resolve()
    image = tiny_image.load(second_engine.api, [program])
    bench = container_bench(second_engine, (image, ""), tmp_path, str(program))
    job = bench.job()
    outcome = bench.run(bench.job(arguments=()), needs=Needs(gpus=GPUS))
    assert (outcome.status, outcome.reason) == (Status.OK, "")
    assert f"NVIDIA_VISIBLE_DEVICES={','.join(GPUS)}" in bench.lines
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in bench.lines
    assert not any(line.startswith("CUDA_VISIBLE_DEVICES") for line in bench.lines)
    assert bench.run(bench.job(arguments=())).status is Status.OK
    assert "NVIDIA_VISIBLE_DEVICES=void" in bench.lines
    assert bench.leftovers() == []
    assert job.out.stat().st_uid == os.getuid()
