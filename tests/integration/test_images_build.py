"""Builds with the project's own Dockerfile on a tiny base: what fails leaves no image, and secrets leave no trace."""

from __future__ import annotations

import hashlib
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import LockstepError
from orchestrator.images.building import Build, run_build
from orchestrator.images.engine import Engine, building_engine
from orchestrator.images.inputs import Context
from orchestrator.layout import ProjectLayout

pytestmark = pytest.mark.engine

TOKEN = "tok-5f0c1c9e-never-in-an-image"
HASH = "a" * 64
# In place of the real installer, which needs a package index: two distributions as their metadata alone, and a
# `transformers` that knows its version. It fails where the secrets are not there, so that the test can see them used.
INSTALL = f"""#!/bin/sh
set -eu
grep -q {TOKEN} /run/secrets/pip_conf
mkdir -p /opt/tools
case $1 in */build.txt) exit 0;; esac
site=/opt/venv/lib/python3.11/site-packages
for pin in transformers-4.37.2 six-1.17.0; do
    mkdir -p $site/$pin.dist-info
    printf 'Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n' ${{pin%-*}} ${{pin##*-}} > $site/$pin.dist-info/METADATA
done
echo '__version__ = "4.37.2"' > $site/transformers.py
"""
LOCK = f"six==1.17.0 --hash=sha256:{HASH}\ntransformers==4.37.2 --hash=sha256:{HASH}\n"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return building_engine()


@pytest.fixture(scope="module")
def bare(engine: Engine) -> Iterator[str]:
    """A base with Python and an empty /opt/venv: what the project's images stand on here, without its big layer."""
    here = [tag for tag in engine.tags("lockstep/debian")] or [tag for tag in engine.tags("python")]
    if not here:
        pytest.skip("no base image here: make base-image")
    tag = f"lockstep-test-{uuid.uuid4().hex[:8]}:bare"
    context = Context(
        files={"Dockerfile": b"ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN python3 -m venv --without-pip /opt/venv\n"},
        arguments={},
    )
    build = Build(context=context, tag=tag, below={"BASE_IMAGE": here[0]}, labels={})
    folder = ProjectLayout().cache / "tests"
    run_build(engine, build, environ={**os.environ}, log=folder / "bare.log", say=lambda line: None)
    yield tag
    engine.call("image", "rm", tag)


@pytest.fixture
def build(engine: Engine, bare: str, tmp_path: Path) -> Iterator[Build]:
    layout = ProjectLayout()
    tag = f"{bare.split(':')[0]}:{uuid.uuid4().hex[:8]}"
    yield Build(
        context=Context(
            files={
                "Dockerfile": (layout.images / "environment" / "Dockerfile").read_bytes(),
                "install/sync.sh": INSTALL.encode(),
                "install/build.txt": b"# nothing\n",
                "lock.txt": LOCK.encode(),
                "check.py": (layout.runner / "lockstep_runner" / "check.py").read_bytes(),
                "lockstep_runner/__init__.py": b"",
            },
            arguments={"PYTHON": "3.11", "TRANSFORMERS": "4.37.2", "IMPORTS": "json"},
        ),
        tag=tag,
        below={"BASE_IMAGE": bare, "TORCH_IMAGE": bare},
        labels={"org.lockstep.project": "lockstep-test"},
    )
    for left in engine.tags(tag):
        engine.call("image", "rm", left)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    secret = tmp_path / "pip.conf"
    secret.write_text(f"[global]\nindex-url = https://user:{TOKEN}@mirror.invalid/simple\n")
    return {**os.environ, "LOCKSTEP_PIP_CONF": str(secret)}


def test_a_build_that_passes_its_check_is_tagged_and_holds_no_secret(
    engine: Engine, build: Build, environ: dict[str, str], tmp_path: Path
) -> None:
    run_build(engine, build, environ=environ, log=tmp_path / "log", say=lambda line: None)
    assert build.tag in engine.tags(build.tag)
    assert TOKEN.encode() not in engine.call("history", "--no-trunc", build.tag)
    assert TOKEN.encode() not in engine.call("image", "inspect", build.tag)
    saved = subprocess.Popen([engine.program, "save", build.tag], stdout=subprocess.PIPE)
    assert saved.stdout is not None
    tail, size, hits = b"", 0, 0
    while chunk := saved.stdout.read(1 << 20):
        hits += (tail + chunk).count(TOKEN.encode())
        tail, size = chunk[-len(TOKEN) :], size + len(chunk)
    saved.stdout.close()
    assert saved.wait() == 0
    assert size > 1e7
    assert hits == 0
    assert b'"digest": "sha256:' in engine.read_file(build.tag, "/opt/lockstep/environment.json")


def test_a_proxy_and_a_sites_ca_reach_the_build_and_are_not_in_the_image(
    engine: Engine, build: Build, environ: dict[str, str], tmp_path: Path
) -> None:
    proxy, bundle = f"http://user:{TOKEN}@proxy.invalid:3128", tmp_path / "ca.pem"
    bundle.write_text("the site's own")
    seen = hashlib.sha256(proxy.encode()).hexdigest()  # the script itself must not hold it
    check = f'grep -q own /run/secrets/ca\nprintf %s "$HTTPS_PROXY" | sha256sum | grep -q {seen}\n'
    script = INSTALL.replace("mkdir -p /opt/tools\n", f"mkdir -p /opt/tools\n{check}").encode()
    through = replace(build, context=replace(build.context, files={**build.context.files, "install/sync.sh": script}))
    given = {**environ, "HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(bundle)}
    given = {name: value for name, value in given.items() if name not in ("PIP_CERT", "LOCKSTEP_CA_BUNDLE")}
    log = tmp_path / "log"
    run_build(engine, through, environ=given, log=log, say=lambda line: None)
    kept = engine.call("history", "--no-trunc", build.tag) + engine.call("image", "inspect", build.tag)
    assert TOKEN.encode() not in kept + log.read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "lock.txt",
            "six==1.17.0",
            f"more==1 --hash=sha256:{HASH}\nsix==1.17.0",
            "more==1 is in the lock and not inst",
        ),
        ("lock.txt", f"six==1.17.0 --hash=sha256:{HASH}\n", "", "six==1.17.0 is installed and not in the lock"),
        ("lock.txt", "six==1.17.0", "six==1.16.0", "six: the lock says 1.16.0, installed is 1.17.0"),
        ("lock.txt", f"1.17.0 --hash=sha256:{HASH}", "1.17.0", "no hash for six"),
        ("install/sync.sh", '"4.37.2"', '"4.37.1"', "transformers.__version__ is 4.37.1, the environment says 4.37.2"),
    ],
)
def test_a_build_that_fails_its_check_leaves_no_image(
    engine: Engine, build: Build, environ: dict[str, str], tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    content = build.context.files[file].decode()
    assert old in content
    files = {**build.context.files, file: content.replace(old, new).encode()}
    with pytest.raises(LockstepError, match="the build failed, there is no such image") as caught:
        run_build(
            engine,
            replace(build, context=replace(build.context, files=files)),
            environ=environ,
            log=tmp_path / "log",
            say=lambda line: None,
        )
    assert said in str(caught.value)
    assert engine.tags(build.tag) == {}


def test_a_module_that_does_not_import_fails_the_build(
    engine: Engine, build: Build, environ: dict[str, str], tmp_path: Path
) -> None:
    arguments = {**build.context.arguments, "IMPORTS": "json absent_module"}
    broken = replace(build, context=replace(build.context, arguments=arguments))
    with pytest.raises(LockstepError, match="import absent_module: ModuleNotFoundError"):
        run_build(engine, broken, environ=environ, log=tmp_path / "log", say=lambda line: None)
    assert engine.tags(build.tag) == {}
