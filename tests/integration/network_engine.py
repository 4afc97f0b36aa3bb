"""A second, empty docker engine whose builds reach the network, beside the first and without a change to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.errors import Unavailable
from orchestrator.executors.container_engine import connect
from orchestrator.images.engine import building_engine

_BRIDGE, _ADDRESS = "lockstep-test0", "198.51.100.1/30"  # an address of TEST-NET-2 (RFC 5737): nobody's
# Builds get the machine's own network: the engine's bridge leads nowhere, so that no packet filter need be touched.
_DOCKER = """#!/bin/sh
if [ "$1" = build ]; then shift; exec {program} build --network host "$@"; fi
exec {program} "$@"
"""


@contextlib.contextmanager
def network_engine(folder: Path) -> Iterator[Mapping[str, str]]:
    """The variables that point the command line at it. Afterwards its process, bridge and data are gone.

    It has a bridge of its own: two engines that share docker0 rebuild each other's, and one with none removes it.
    """
    if os.geteuid() != 0 or not all(map(shutil.which, ("dockerd", "ip"))):
        pytest.skip("a second engine needs root, dockerd and ip (apt-get install docker.io iproute2)")
    docker = folder / "docker"
    docker.write_text(_DOCKER.format(program=building_engine().program), encoding="utf-8")
    docker.chmod(0o755)
    _ip("link", "add", _BRIDGE, "type", "bridge")
    try:
        _ip("address", "add", _ADDRESS, "dev", _BRIDGE)
        with _dockerd(folder) as address:
            yield {"DOCKER_HOST": address, "DOCKER": str(docker)}
    finally:
        _ip("link", "delete", _BRIDGE)
        shutil.rmtree(folder / "data")  # some 15 GB


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextlib.contextmanager
def _dockerd(folder: Path) -> Iterator[str]:
    address, log = f"unix://{folder}/engine.sock", folder / "engine.log"
    options = [f"--host={address}", f"--data-root={folder}/data", f"--exec-root={folder}/exec"]
    options += [f"--pidfile={folder}/engine.pid", f"--bridge={_BRIDGE}"]
    options += ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["dockerd", *options], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait(address, process, log)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        try:
            connect("docker", {"DOCKER_HOST": address}).api.close()
            return
        except Unavailable:
            if process.poll() is not None:
                break
            time.sleep(0.25)
    pytest.fail(f"the second engine does not answer: {log.read_text(encoding='utf-8')[-2000:]}")
