"""Podman without root: the contract of every executor once more, by an ordinary user made for this test alone."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.layout import PROJECT

pytestmark = [pytest.mark.engine, pytest.mark.heavy]

HERE = Path(__file__).parent.relative_to(PROJECT)
TESTS = [str(HERE / f"test_executors{name}.py") for name in ("", "_adopt", "_container", "_escape", "_podman")]
PROGRAMS = ("podman", "newuidmap", "useradd", "userdel", "setpriv")


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def somebody() -> Iterator[pwd.struct_passwd]:
    """A user with a home and a range of subordinate uids; afterwards neither the user nor the home is left."""
    if os.geteuid() != 0:
        pytest.skip("not root: the other tests have run podman as an ordinary user already")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install podman uidmap fuse-overlayfs slirp4netns)")
    name, home = f"lockstep-{os.getpid()}", Path(tempfile.mkdtemp(prefix="lockstep-home-", dir="/tmp"))
    try:
        _do("useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", name)
    except subprocess.CalledProcessError as error:
        home.rmdir()
        pytest.skip(f"no user can be made here: {error.stderr.strip()}")
    entry = pwd.getpwnam(name)
    try:
        for folder in (home, home / "run"):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield entry
    finally:
        for process in _processes_of(entry.pw_uid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)
        _do("userdel", name)


def _processes_of(uid: int) -> list[int]:
    """Podman leaves one process that holds its user namespace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [int(folder.name)] if folder.stat().st_uid == uid else []
    return found


def _as(user: pwd.struct_passwd, *command: str) -> subprocess.CompletedProcess[str]:
    """Run as that user, who may also read what is closed to others: this project and its Python may lie in a home."""
    words = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    words += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    environ = {"HOME": user.pw_dir, "XDG_RUNTIME_DIR": f"{user.pw_dir}/run", "PATH": os.environ["PATH"]}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(
        [*words, "--", *command], cwd=PROJECT, env=environ, capture_output=True, text=True, check=False
    )


def test_rootless_podman_keeps_the_contract(somebody: pwd.struct_passwd) -> None:
    """Outputs that belong to the caller are part of it."""
    if (probe := _as(somebody, sys.executable, "-c", "import pytest")).returncode:
        pytest.skip(f"another user cannot run this Python: {probe.stderr.strip()[-300:]}")
    options = ("-q", "-rs", "-p", "no:cacheprovider", f"--basetemp={somebody.pw_dir}/tests", "-k", "podman")
    done = _as(somebody, sys.executable, "-m", "pytest", *options, *TESTS)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "podman is not installed" not in done.stdout
    assert " passed" in done.stdout
