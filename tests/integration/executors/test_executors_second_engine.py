"""Requests for GPUs and the loss of an engine, on a second one made for this: no GPU and no other engine is touched."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import Unavailable
from orchestrator.executors.container_engine import Engine, connect
from orchestrator.executors.protocol import Needs, Status
from tests.integration.executors import tiny_image
from tests.integration.executors.conftest import Bench, container_bench

Second = tuple[Engine, "subprocess.Popen[bytes]"]
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
def second_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
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
            yield engine, process
        finally:
            if engine is not None:
                engine.api.close()
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def only(engine: Engine, name: str, folder: Path) -> Bench:
    """A bench whose image holds one program of this machine, which is what its jobs run."""
    program = Path(shutil.which(name) or f"/usr/bin/{name}").resolve()
    return container_bench(engine, (tiny_image.load(engine.api, [program]), ""), folder, str(program))


def test_gpus_are_requested_by_uuid(second_engine: Second, tmp_path: Path) -> None:
    bench = only(second_engine[0], "env", tmp_path)
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


# the SDK does not close a socket that could not connect
@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_ends_in_the_middle_is_infra(second_engine: Second, tmp_path: Path) -> None:
    """The last test of this engine. Its owner's output is his own again, whether or not the engine could clean up."""
    engine, process = second_engine
    bench = only(engine, "sleep", tmp_path)
    job = bench.job(arguments=("600",))

    def end() -> None:
        for _ in range(240):
            if any(found["State"] == "running" for found in engine.api.containers()):
                break
            time.sleep(0.25)
        process.send_signal(signal.SIGTERM)

    ending = threading.Thread(target=end)
    ending.start()
    outcome = bench.run(job)
    ending.join()
    assert outcome.status is Status.INFRA
    assert job.out.stat().st_uid == os.getuid()
    with pytest.raises(Unavailable, match=r"python run_matrix\.py clean --yes"):
        bench.executor.close()
    del bench
    gc.collect()  # what the SDK left open is found here, not in another test
