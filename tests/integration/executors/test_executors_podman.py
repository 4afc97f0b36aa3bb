"""What podman does otherwise than docker, on a podman of the tests' own: none of it may pass for a good end."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.executors.container_engine import Engine
from orchestrator.executors.protocol import Needs, Status
from tests.integration.executors.conftest import Bench, container_bench

pytestmark = [pytest.mark.engine, pytest.mark.heavy]


def test_gpus_that_it_would_drop_without_a_word_are_refused(podman_bench: Bench, podman_engine: Engine) -> None:
    if podman_engine.facts.version >= (5, 4):
        pytest.skip("this podman honours requests for GPUs")
    outcome = podman_bench.run(podman_bench.job("look"), needs=Needs(gpus=("GPU-aaaa",)))
    assert outcome.status is Status.INFRA
    assert outcome.reason.startswith("podman before 5.4 drops requests for GPUs: update it")


def test_more_memory_than_allowed_is_an_end_from_outside(podman_bench: Bench, podman_engine: Engine) -> None:
    """Podman 4.3 on cgroup v1 tells nowhere why a process was killed: not in what `inspect` or libpod's own API say of
    the container (OOMKilled false, exit code 137), nor in its events (`died`); its monitor leaves no `oom` file, and the
    container's cgroup, which counts such kills, is gone with it. Then it is `infra`, never `failed`, and the reason
    names both.
    """
    outcome = podman_bench.run(podman_bench.job("allocate"), needs=Needs(memory_gb=0.0625))
    if podman_engine.facts.unlimited:  # without root on cgroups v1
        assert (outcome.status, podman_bench.leftovers()) == (Status.INFRA, [])
        assert "keeps no limit of memory and 0.0625 GB is one: take memory_gb out" in outcome.reason
        return
    assert outcome.conditions["exit_code"] == 137
    assert outcome.stage == "POPE/infer"
    if outcome.status is not Status.OOM:
        assert outcome.status is Status.INFRA
        assert outcome.reason.startswith(
            "killed from outside (137 SIGKILL), or for want of more than its 0.0625 GB of memory, which the engine "
            "does not tell; last seen in infer"
        )


def test_a_program_that_is_not_there_leaves_nothing(
    podman_engine: Engine, podman_image: tuple[str, str], tmp_path: Path
) -> None:
    """Its init would find out after the start, and end with a code that any program may end with."""
    bench = container_bench(podman_engine, podman_image, tmp_path, "/no/such/program")
    outcome = bench.run(bench.job("look"))
    assert outcome.status is Status.INFRA
    assert outcome.reason == "the runner could not be started: its image has no /no/such/program"
    assert bench.leftovers() == []


def test_an_image_that_is_gone_names_the_remedy(podman_engine: Engine, tmp_path: Path) -> None:
    bench = container_bench(podman_engine, ("sha256:" + "0" * 64, "python"), tmp_path)
    outcome = bench.run(bench.job("look"))
    assert outcome.status is Status.INFRA
    assert "make images ENV=tf-4.37" in outcome.reason
