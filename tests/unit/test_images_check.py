"""The check that ends a build and makes a venv good; it runs on its own, with the standard library alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from lockstep_runner import check

from orchestrator.layout import ProjectLayout

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv with two distributions that are only their metadata, and a module that calls itself transformers."""
    root = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    (site,) = root.glob("lib/python*/site-packages")
    for name, version in (("Six_Pack", "1.17.0"), ("transformers", "4.37.2")):
        (site / f"{name}-{version}.dist-info").mkdir()
        (site / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (site / "transformers.py").write_text('__version__ = "4.37.2"\n')
    return root


def run(venv: Path, lock: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = venv / "lock.txt"
    path.write_text(lock)
    command = [str(venv / "bin" / "python"), str(ProjectLayout().runner / "lockstep_runner" / "check.py")]
    return subprocess.run(
        [*command, "--lock", str(path), *arguments], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )


GOOD = f"""\
# header

--only-binary :all:
six-pack==1.17.0 \\
    --hash={B} \\
    --hash={A}
transformers==4.37.2 --hash={A}
"""


def test_an_environment_that_is_its_lock_is_described(venv: Path) -> None:
    status = venv / "status"
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n\nPackage: x\nStatus: deinstall\n"
    )
    target = venv / "environment.json"
    done = run(venv, GOOD, "--transformers", "4.37.2", "--system-packages", str(status), "--write", str(target))
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    digest = found.pop("digest")
    assert digest in done.stdout
    assert found["system_packages"] == {"libc6": "2.36-9"}
    assert found["distributions"]["six-pack"] == {
        "version": "1.17.0",
        "hashes": hashlib.sha256(f"{A}\n{B}".encode()).hexdigest(),
    }
    canonical = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    ("lock", "arguments", "said"),
    [
        (GOOD.replace("1.17.0", "1.16.0"), (), "six-pack: the lock says 1.16.0, installed is 1.17.0"),
        (GOOD + f"more==1 --hash={A}\n", (), "more==1 is in the lock and not installed"),
        (f"six-pack==1.17.0 --hash={A}\n", (), "transformers==4.37.2 is installed and not in the lock"),
        (GOOD + "more==1\n", (), "no hash for more"),
        ("# nothing\n", (), "no pinned requirement in it"),
        (GOOD, ("--transformers", "4.42.4"), "transformers.__version__ is 4.37.2, the environment says 4.42.4"),
        (GOOD, ("--import", "absent_module"), "import absent_module: ModuleNotFoundError"),
        (GOOD, ("--python", "2.7"), "the environment says 2.7"),
    ],
)
def test_each_difference_is_a_line_and_nothing_is_written(
    venv: Path, lock: str, arguments: tuple[str, ...], said: str
) -> None:
    target = venv / "not-written.json"
    done = run(venv, lock, *arguments, "--write", str(target))
    assert done.returncode == 1
    assert said in done.stderr
    assert all(line.startswith("check: ") for line in done.stderr.splitlines())
    assert not target.exists()


def test_a_distribution_that_is_there_twice_is_told(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1", "2"):
        (tmp_path / f"two-{version}.dist-info").mkdir()
        (tmp_path / f"two-{version}.dist-info" / "METADATA").write_text(f"Name: two\nVersion: {version}\n")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    _, doubled = check.installed()
    assert len(doubled) == 1
    assert doubled[0].startswith("two is installed twice: ")


def test_the_digest_does_not_depend_on_the_order_of_the_lock() -> None:
    lines = GOOD.split("transformers==")
    turned = f"transformers=={lines[1]}{lines[0]}"
    assert (
        check.environment(check.read_lock(GOOD), {})["digest"]
        == check.environment(check.read_lock(turned), {})["digest"]
    )


def test_only_the_interpreters_own_distributions_count() -> None:
    found, _ = check.installed()
    assert found["pytest"] == metadata.version("pytest")
