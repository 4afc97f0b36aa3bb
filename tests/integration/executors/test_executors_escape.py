"""Code inside a real container that tries to get out: network, privileges, files, devices, the kernel, its own output."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors import container_config
from orchestrator.executors.container_config import UNPRIVILEGED
from orchestrator.executors.container_engine import Engine
from orchestrator.executors.protocol import Job, Mount, Needs, Outcome, Status
from tests.integration.executors import tiny_image
from tests.integration.executors.conftest import Bench, container_bench

pytestmark = pytest.mark.engine

SCRIPT = Path(__file__).with_name("inside_escape.py")
DENIED = {"EPERM", "EACCES", "EROFS"}
ABSENT = DENIED | {"ENOENT", "ENXIO"}
WRITABLE = ["/dev/mqueue", "/dev/shm", "/lockstep/work/out", "/tmp", "/tmp/home"]
# what every container has: none of them leads to the host's hardware or another process
DEVICES = {
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/ptmx", "console")
}


@pytest.fixture(params=["docker", pytest.param("podman", marks=pytest.mark.heavy)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made: Bench = request.getfixturevalue(f"{request.param}_bench")
    yield made
    made.executor.close()
    assert made.leftovers() == []


def escape(bench: Bench, *words: str, needs: Needs | None = None) -> tuple[Outcome, Job]:
    """Run one attempt of the script inside."""
    job = bench.job()
    given = next(m.source for m in job.mounts if m.target == "work/in/first").parent
    place = given / SCRIPT.name
    shutil.copy(SCRIPT, place)
    mounts = (*job.mounts, Mount(source=place, target="work/in/escape.py"))
    job = replace(job, mounts=mounts, arguments=("work/in/escape.py", *words))
    return bench.run(job, needs=needs or Needs(shm_gb=0.0625, tmp_gb=0.0625, timeout_seconds=60)), job


def found(bench: Bench, what: str, *words: str) -> Any:
    outcome, job = escape(bench, what, *words)
    assert outcome.status is Status.OK, (outcome, bench.lines)
    return json.loads((job.out / f"{what}.json").read_text(encoding="utf-8"))


@pytest.fixture
def listening() -> Iterator[tuple[str, str]]:
    """A port on every address of this machine and an abstract socket, both answering."""
    name = f"lockstep-test-{os.getpid()}"
    with closing(socket.create_server(("0.0.0.0", 0))) as port, closing(socket.socket(socket.AF_UNIX)) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        for family, address in ((socket.AF_INET, ("127.0.0.1", port.getsockname()[1])), (socket.AF_UNIX, "\0" + name)):
            with socket.socket(family) as check:
                check.connect(address)
        yield str(port.getsockname()[1]), name


def own_address() -> str:
    """This machine's own on its way to others; one of those that engines take for themselves where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect(("192.0.2.1", 53))  # sends nothing
        except OSError:
            return "172.17.0.1"
        return str(connection.getsockname()[0])


def test_nothing_can_be_reached(bench: Bench, listening: tuple[str, str]) -> None:
    seen = found(bench, "network", own_address(), *listening)
    assert set(seen.values()) <= {"ENETUNREACH", "ECONNREFUSED", "EADDRNOTAVAIL", "gaierror", "EAI_AGAIN", "EPERM"} | {
        "EACCES",
        "EAFNOSUPPORT",
    }, seen
    assert seen["host loopback"] == seen["abstract socket"] == "ECONNREFUSED"  # its own, on which nobody listens
    assert seen["gateway"] == seen["metadata service"] == "ENETUNREACH"


def test_no_system_call_gives_a_privilege(bench: Bench) -> None:
    seen = found(bench, "privilege")
    refused = DENIED | {"EINVAL", "ENOSYS", "EOPNOTSUPP", "EFAULT"}
    assert {name: said for name, said in seen.items() if said not in refused} == {}
    assert seen["setuid"] == seen["mknod"] == seen["mount"] == seen["chroot"] == "EPERM"
    assert seen["privileges back"] == "EINVAL"


def test_only_the_output_and_the_scratch_space_can_be_written(bench: Bench) -> None:
    assert [place for place in found(bench, "places") if not place.startswith("/tmp/")] == [
        place for place in WRITABLE if not place.startswith("/tmp/")
    ]


def test_no_file_of_the_kernel_or_the_image_opens_for_writing(bench: Bench) -> None:
    harmless = {path for path in found(bench, "files") if not path.startswith(("/proc/1/", "/proc/pressure/"))}
    assert harmless <= DEVICES


def test_no_device_but_the_usual(bench: Bench) -> None:
    assert set(found(bench, "devices")) <= DEVICES


def test_what_it_was_given_cannot_be_changed(bench: Bench) -> None:
    seen = found(bench, "tree")
    assert {name: said for name, said in seen.items() if said not in DENIED | {"EBUSY", "EXDEV", "ETXTBSY"}} == {}
    assert seen["work"] == seen["cache"] == seen["interpreter"] == "EROFS"


def test_no_window_into_the_host(bench: Bench) -> None:
    seen = found(bench, "kernel")
    assert {name: said for name, said in seen.items() if said not in ABSENT | {"EIO"}} == {}


def test_a_setuid_program_gains_nothing(docker_engine: Engine, tmp_path: Path) -> None:
    """The image holds a `cat` that belongs to root with its setuid bit: it shows its own status."""
    program = Path(shutil.which("cat") or "/bin/cat").resolve()
    said = docker_engine.api.import_image_from_data(
        _setuid(tiny_image.image_bytes([program]), program), "lockstep-test"
    )
    image = json.loads(said.splitlines()[-1])["status"]
    try:
        bench = container_bench(docker_engine, (image, ""), tmp_path, str(program))
        outcome = bench.run(replace(bench.job(), arguments=("/proc/self/status",)))
        assert outcome.status is Status.OK, outcome
        status = dict(line.split(":\t", 1) for line in bench.lines if ":\t" in line)
        uid = os.getuid() or UNPRIVILEGED
        assert status["Uid"].split() == [str(uid)] * 4
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
        assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    finally:
        docker_engine.api.remove_image(image, force=True)


def _setuid(image: bytes, program: Path) -> bytes:
    """The same root file system, in which `program` has its setuid bit."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(image)) as old, tarfile.open(fileobj=made, mode="w") as new:
        for entry in old:
            entry.mode |= stat.S_ISUID if f"/{entry.name}" == str(program) else 0
            new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
    return made.getvalue()


def test_a_fork_bomb_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit that a shared machine can bear; the true one is in the configuration."""
    if bench.engine is not None and bench.engine.facts.unlimited:
        pytest.skip(f"{bench.engine.facts.kind} {bench.engine.facts.unlimited} limits no processes: docs/security.md")
    monkeypatch.setattr(container_config, "PIDS", 64)
    outcome, job = escape(bench, "fork_bomb", "300")
    assert outcome.status is Status.OK, outcome
    forked = json.loads((job.out / "forked.json").read_text(encoding="utf-8"))
    assert forked["count"] < 64
    assert forked["error"] == "Resource temporarily unavailable"


def test_litter_in_the_output_is_neither_followed_nor_left_to_another_user(bench: Bench, tmp_path: Path) -> None:
    """Links, a pipe, a socket, a huge file, a folder without permissions, a setuid program: the owner changes, no more."""
    private = tmp_path / "private"
    private.mkdir()
    secret = private / "secret"
    secret.write_text('{"kind": "oom", "phase": "secret"}', encoding="utf-8")
    before = {path: (path.stat().st_uid, path.stat().st_mode) for path in (private, secret)}
    outcome, job = escape(bench, "litter", str(secret))
    assert (outcome.status, outcome.reason) == (Status.OK, "")
    assert {path: (path.stat().st_uid, path.stat().st_mode) for path in (private, secret)} == before
    assert {path.lstat().st_uid for path in job.out.rglob("*")} == {os.getuid()}
    assert not (job.out / "program").stat().st_mode & (stat.S_ISUID | stat.S_ISGID) or os.getuid()
    outcome, _ = escape(bench, "kernel")  # an earlier attempt's litter is in nobody's way
    assert outcome.status is Status.OK, outcome


@pytest.mark.parametrize("target", ["work/out", "work/in/first"])
def test_a_later_job_is_not_given_what_an_earlier_one_put_a_link_to(bench: Bench, tmp_path: Path, target: str) -> None:
    """A job's output holds the next one's folders: `evaluate@tf-4.42/`, and what that one reads."""
    private = tmp_path.parent / f"{tmp_path.name}-private"
    private.mkdir()
    before = private.stat()
    first = bench.job("-c", f"import os; os.symlink({str(private)!r}, 'work/out/next')")
    first = replace(first, arguments=first.arguments[1:])
    assert bench.run(first).status is Status.OK
    second = bench.job("places")
    place = first.out / "next"
    mounts = tuple(replace(m, source=place) if m.target == target else m for m in second.mounts)
    outcome = bench.run(replace(second, mounts=mounts))
    assert outcome.status is Status.INFRA
    assert outcome.reason == f"cannot be mounted, an earlier job has put a link in its place: {place}"
    after = private.stat()
    assert (after.st_uid, after.st_mode, list(private.iterdir())) == (before.st_uid, before.st_mode, [])
    assert bench.leftovers() == []
