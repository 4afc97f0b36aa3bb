"""Code that lies beside weights, in a cache as huggingface_hub makes it, is another file for a job that does not trust it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.backing import spec_of
from orchestrator.executors.container import ContainerExecutor
from orchestrator.executors.container_engine import connect
from orchestrator.executors.protocol import Job, Mount, Needs, Status, Stop
from orchestrator.executors.venv_tree import linked
from orchestrator.images import require
from orchestrator.inputs.weights import locate_model
from orchestrator.layout import PROJECT, ProjectLayout
from orchestrator.planning.identity import FileHashes
from orchestrator.registry.load import load

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FOLDER = "models--org--name"
PYTHON = "/opt/venv/bin/python"
LOOK = """
import importlib, os, sys
root = "cache/hub/models--org--name/snapshots/" + os.listdir("cache/hub/models--org--name/snapshots")[0]
sys.path.insert(0, root)
assert open(root + "/config.json").read() == "{}"
try:
    import modeling_x
    print("ran", modeling_x.VALUE)
except ImportError as error:
    print("refused:", error)
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A model that does not trust its repository, whose code somebody's cache holds as links into `blobs`."""
    folder = tmp_path / "hub" / FOLDER
    snapshot = folder / "snapshots" / COMMIT
    for made in (folder / "blobs", folder / "refs", snapshot, tmp_path / "job" / "work", tmp_path / "out"):
        made.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for name, blob, text in (("config.json", "b1", "{}"), ("modeling_x.py", "b2", "VALUE = 7\n")):
        (folder / "blobs" / blob).write_text(text)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        f"include: {{{PROJECT}/registry.yaml: [environments]}}\n"
        "models:\n  m: {environments: [tf-4.37], kind: hf, repo: org/name}\n"
    )
    located = locate_model(
        "m",
        load(registry),
        environ={"HF_HUB_CACHE": str(tmp_path / "hub")},
        hashes=FileHashes(tmp_path / "hashes.json"),
        benchmark_names=(),
        layout=ProjectLayout(cache=tmp_path / "cache"),
    )
    assert (located.withheld, located.missing) == (1, ())
    (tmp_path / "job" / "work" / "job.json").write_text("{}")
    return Job(
        key="m@tf-4.37",
        run_id="withheld",
        environment="tf-4.37",
        folder=tmp_path / "job",
        mounts=(Mount(source=tmp_path / "out", target="work/out", writable=True), *located.mounts),
        arguments=("-c", LOOK),
    )


@pytest.mark.engine
@pytest.mark.usefixtures("fresh_images")
def test_a_container_sees_a_file_that_refuses_to_be_imported(job: Job) -> None:
    image = require(spec_of(load(PROJECT / "registry.yaml"), ProjectLayout(), "tf-4.37"), layout=ProjectLayout())
    executor = ContainerExecutor(
        engine=connect("docker"), resolve_image=lambda name: image, project=f"tests-{os.getpid()}", command=(PYTHON,)
    )
    lines: list[str] = []
    try:
        outcome = executor.run(
            job, needs=Needs(shm_gb=0.1, tmp_gb=0.1), stop=Stop(), log=lambda line: lines.append(line)
        )
    finally:
        executor.close()
    assert outcome.status is Status.OK, (outcome, lines)
    assert len(lines) == 1
    assert lines[0].startswith("refused: this repository's own code is withheld")


def test_the_tree_of_links_has_the_same_file_in_its_place(job: Job) -> None:
    with linked(job) as root:
        snapshot = root / "cache" / "hub" / FOLDER / "snapshots" / COMMIT
        assert "withheld" in (snapshot / "modeling_x.py").read_text()
        assert (snapshot / "config.json").read_text() == "{}"
    theirs = next(m.source for m in job.mounts if m.target == f"cache/hub/{FOLDER}")
    assert (theirs / "snapshots" / COMMIT / "modeling_x.py").read_text() == "VALUE = 7\n"
