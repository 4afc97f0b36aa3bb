"""The images of the project's environments, where they are built: what they are, say of themselves, and share."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from orchestrator import images
from orchestrator.environments import EnvironmentSpec
from orchestrator.errors import EnvironmentUnavailable
from orchestrator.images.engine import Engine, any_engine
from orchestrator.images.sizes import report_sizes
from orchestrator.layout import ProjectLayout
from orchestrator.locks import Lock

pytestmark = pytest.mark.engine

LOCKS = ProjectLayout().locks
ENVIRONMENTS = [
    EnvironmentSpec(name=name, transformers=version, lock=LOCKS / f"{name}.txt")
    for name, version in (("tf-4.33", "4.33.0"), ("tf-4.37", "4.37.2"), ("tf-4.42", "4.42.4"))
]
# The flags of a job's container, as bare docker options.
SANDBOX = [
    *("--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"),
    *("--user", "4242:4242", "--tmpfs", "/tmp:exec,mode=1777,size=1g"),
    *("-e", "HOME=/tmp", "-e", "USER=job", "-e", "LOGNAME=job"),
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return any_engine()


@pytest.fixture(params=ENVIRONMENTS, ids=lambda spec: str(spec.name))
def environment(request: pytest.FixtureRequest) -> EnvironmentSpec:
    spec: EnvironmentSpec = request.param
    return spec


@pytest.fixture
def image(environment: EnvironmentSpec) -> images.ImageInfo:
    try:
        return images.require(environment)
    except EnvironmentUnavailable as error:
        pytest.skip(str(error))


def test_labels_name_source_lock_and_environment(image: images.ImageInfo, environment: EnvironmentSpec) -> None:
    assert image.labels["org.lockstep.project"] == "lockstep"
    assert image.labels["org.lockstep.environment"] == environment.name
    assert image.labels["org.lockstep.lock"] == image.lock_sha256
    assert image.labels["org.opencontainers.image.revision"] != ""


def test_the_environment_inside_is_the_locks(
    engine: Engine, image: images.ImageInfo, environment: EnvironmentSpec
) -> None:
    inside = json.loads(engine.read_file(image.id, "/opt/lockstep/environment.json"))
    assert {name: each["version"] for name, each in inside["distributions"].items()} == Lock.read(
        environment.lock
    ).versions
    assert inside["digest"] == image.environment_digest
    assert inside["python"].startswith("3.11.")
    assert "libc6" in inside["system_packages"]


def test_the_check_holds_in_the_sandbox_as_any_user(
    engine: Engine, image: images.ImageInfo, environment: EnvironmentSpec
) -> None:
    check = (
        "/opt/lockstep/lockstep_runner/check.py --lock /opt/lockstep/lock.txt --system-packages /var/lib/dpkg/status"
    )
    said = subprocess.run(
        [engine.program, "run", "--rm", *SANDBOX, "--entrypoint", "/opt/venv/bin/python", image.id, *check.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert image.environment_digest in said.stdout


def test_nothing_of_the_build_stays_inside(engine: Engine, image: images.ImageInfo) -> None:
    script = "ls -A /run/secrets /opt/tools /var/cache/uv /install 2>/dev/null | grep -v : ; which uv pip gcc"
    said = subprocess.run(
        [engine.program, "run", "--rm", *SANDBOX, "--entrypoint", "sh", image.id, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.split() == ["/usr/bin/pip"] or said.stdout.split() == ["/usr/local/bin/pip"]


def test_all_images_together_take_little_more_than_one(engine: Engine) -> None:
    found = [images.find(spec) for spec in ENVIRONMENTS]
    tags = [info.tag for info in found if info is not None]
    if len(tags) < len(ENVIRONMENTS):
        pytest.skip("not all images are built: make images")
    assert 1.0 < report_sizes(engine, tags, lambda line: None) <= 1.25


def test_a_second_build_builds_nothing(image: images.ImageInfo, environment: EnvironmentSpec) -> None:
    said: list[str] = []
    images.build([environment], say=said.append)
    assert said[0] == f"nothing to do: {image.tag}"


def test_an_image_of_other_inputs_is_stale_and_one_never_built_is_missing(
    image: images.ImageInfo, environment: EnvironmentSpec, tmp_path: Path
) -> None:
    lock = tmp_path / "other.txt"
    lock.write_text(environment.lock.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    changed = EnvironmentSpec(name=environment.name, transformers=environment.transformers, lock=lock)
    with pytest.raises(EnvironmentUnavailable, match=rf"is stale.*: make images ENV={environment.name}"):
        images.require(changed)
    other = EnvironmentSpec(name="never-built", transformers="1", lock=lock)
    with pytest.raises(EnvironmentUnavailable, match="is not built: make images ENV=never-built"):
        images.require(other)
