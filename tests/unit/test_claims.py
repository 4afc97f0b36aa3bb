"""Locks between real processes: one holds, dies, lives on another machine, or leaves a container at work."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.claims.claims import (
    Claim,
    Held,
    Mark,
    claim,
    gpu_folder,
    gpu_lock,
    identity_lock,
    make_mark,
    probe,
    taken_over,
)
from orchestrator.claims.files import open_lock, write_mark
from orchestrator.claims.marks import to_bytes
from orchestrator.errors import Unavailable
from orchestrator.layout import PROJECT

HOLD = """
import os, pwd, sys
from pathlib import Path
from orchestrator.claims.claims import Claim, claim, make_mark
#os.setgroups([]), os.setgid(65534), os.setuid(65534)
mark = make_mark(run_id=sys.argv[1], job_key="m@tf", folder=Path("/runs/r"), project="p")
print("got" if isinstance(claim(map(Path, sys.argv[2:]), mark=mark), Claim) else "held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(*paths: Path, run_id: str = "theirs") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds these locks; it ends when its input is closed."""
    words = [sys.executable, "-c", HOLD, run_id, *map(str, paths)]
    with subprocess.Popen(words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "got\n"
        yield process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [identity_lock(tmp_path, letter * 64) for letter in "abc"]


def mine(run_id: str = "mine", job_key: str = "j@tf") -> Mark:
    return make_mark(
        run_id=run_id, job_key=job_key, folder=Path("/runs/mine"), project="p", command="python run_matrix.py"
    )


def sign(path: Path, mark: Mark) -> None:
    """What a process leaves that dies."""
    descriptor = open_lock(path)
    write_mark(descriptor, to_bytes(mark))
    os.close(descriptor)


def granted(got: Claim | Held) -> Claim:
    assert isinstance(got, Claim), got
    return got


def refused(got: Claim | Held) -> Held:
    assert isinstance(got, Held)
    return got


def test_a_claim_is_all_or_nothing(paths: list[Path]) -> None:
    with granted(claim(paths[1:2], mark=mine("first"))):
        held = refused(claim(paths, mark=mine("second")))
        assert held.names == {"b" * 64}
        assert [m.run_id for m in held.holders] == ["first"]
        granted(claim([paths[0], paths[2]], mark=mine("third"))).release()
    granted(claim(paths, mark=mine("second"))).release()
    assert probe(paths) == []
    assert [path.read_bytes() for path in paths] == [b"", b"", b""]


def test_all_that_is_in_the_way_is_said_at_once(paths: list[Path]) -> None:
    with granted(claim(paths[:1], mark=mine("one"))), granted(claim(paths[2:], mark=mine("two"))):
        held = refused(claim(paths, mark=mine()))
    assert held.names == {"a" * 64, "c" * 64}
    assert "run one of" in held.text
    assert "; held by run two of" in held.text


def test_who_holds_it_is_one_line_for_people(paths: list[Path]) -> None:
    with holder(*paths, run_id="20261121-0200") as process:
        held = refused(claim(paths, mark=mine()))
        mark = held.holders[0]
        assert (mark.run_id, mark.folder, mark.process.pid) == ("20261121-0200", "/runs/r", process.pid)
        assert (
            held.text
            == f"held by run 20261121-0200 of {mark.user} (pid {process.pid} on {mark.process.host}, since "
            + (f"{mark.since[11:16]})")
        )
        assert not held.orphan
        assert [blocked.state for blocked in probe(paths)] == ["held"] * 3


def test_killed_holders_locks_are_free_at_once(paths: list[Path]) -> None:
    with holder(*paths) as process:
        kill(process)
        assert [blocked.state for blocked in probe(paths)] == ["left"] * 3
        granted(claim(paths, mark=mine())).release()


def test_a_program_that_the_holder_starts_does_not_inherit_the_lock(paths: list[Path]) -> None:
    held = granted(claim(paths, mark=mine()))
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE):
        held.release()
        granted(claim(paths, mark=mine("other"))).release()


def test_a_stopped_holder_still_holds(paths: list[Path]) -> None:
    with holder(*paths) as process:
        os.kill(process.pid, signal.SIGSTOP)
        refused(claim(paths, mark=mine()))
        os.kill(process.pid, signal.SIGCONT)


def test_a_dead_ones_container_keeps_its_locks_until_it_ends(paths: list[Path]) -> None:
    asked: list[Mark] = []
    lives = [True]

    def alive(mark: Mark) -> bool:
        asked.append(mark)
        return lives[0]

    with holder(*paths) as process:
        refused(claim(paths, mark=mine(), alive=alive))
        assert asked == []  # who lives is not asked about
        kill(process)
    held = refused(claim(paths, mark=mine(), alive=alive))
    assert held.orphan
    assert "left at work: python run_matrix.py clean" in held.text
    assert (asked[0].run_id, asked[0].job_key, asked[0].project) == ("theirs", "m@tf", "p")
    with taken_over(held) as first, taken_over(held) as second:
        assert (first, second) == (True, False)
    assert refused(claim(paths, mark=mine(), alive=alive)).orphan  # what the dead one wrote is still there
    lives[0] = False
    granted(claim(paths, mark=mine(), alive=alive)).release()


def test_a_run_that_goes_on_takes_its_own_jobs_locks(paths: list[Path]) -> None:
    with holder(*paths) as process:
        kill(process)
    granted(
        claim(
            paths,
            mark=make_mark(run_id="theirs", job_key="m@tf", folder=Path("/r"), project="p"),
            alive=lambda mark: True,
        )
    ).release()


def test_another_machines_holder_that_cannot_be_looked_at_keeps_it(paths: list[Path]) -> None:
    far = mine("far")
    sign(paths[0], replace(far, process=replace(far.process, host="node9", boot="another")))
    held = refused(claim(paths, mark=mine(), alive=lambda mark: False))
    assert not held.orphan
    assert f"type python run_matrix.py clean --yes on node9, or remove {paths[0]}" in held.text
    assert [blocked.state for blocked in probe(paths)] == ["elsewhere"]


def test_before_the_machine_restarted_is_dead(paths: list[Path]) -> None:
    before = mine("before")
    sign(paths[0], replace(before, process=replace(before.process, boot="another")))
    granted(claim(paths, mark=mine())).release()


def test_a_lock_file_that_is_removed_meanwhile_is_made_anew(paths: list[Path]) -> None:
    first = granted(claim(paths, mark=mine()))
    paths[0].unlink()
    second = granted(claim(paths[:1], mark=mine("second")))
    assert probe(paths[:1])[0].state == "held"
    first.release()
    second.release()


@pytest.mark.parametrize("content", [b"\xff\x00", b"[]", b'{"process": 1}', b"x" * 100_000, b'{"run_id": 7}'])
def test_content_that_nobody_understands_is_nobodys(paths: list[Path], content: bytes) -> None:
    descriptor = open_lock(paths[0])
    write_mark(descriptor, content)
    os.close(descriptor)
    granted(claim(paths, mark=mine())).release()


def test_a_name_from_a_lock_file_is_safe_to_show(paths: list[Path]) -> None:
    with granted(claim(paths, mark=replace(mine("a\x1b[31m\nb"), user="\u202eeve"))):
        text = refused(claim(paths, mark=mine())).text
    assert text.isprintable()
    assert "\\x1b[31m b of \\u202eeve" in text


def test_two_threads_are_two(paths: list[Path]) -> None:
    """Many claims of overlapping sets: none is granted beside another that shares a lock, and all end."""
    inside: set[Path] = set()
    guard = threading.Lock()
    clashes: list[Path] = []
    counted = [0]

    def work(number: int) -> None:
        wanted = [paths[number % 3], paths[(number + 1) % 3]]
        done = 0
        while done < 5:
            got = claim(wanted if number % 2 else wanted[::-1], mark=mine(f"t{number}"))
            if isinstance(got, Held):
                continue
            with guard:
                clashes.extend(inside.intersection(wanted))
                inside.update(wanted)
                counted[0] += 1
            with guard:
                inside.difference_update(wanted)
            got.release()
            done += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert counted[0] == 20


def shared(tmp_path: Path) -> Path:
    """As /tmp is."""
    parent = tmp_path / "tmp"
    parent.mkdir()
    parent.chmod(0o1777)
    return parent / "lockstep-gpus"


def test_gpu_locks_are_for_all_users_whatever_the_umask(tmp_path: Path) -> None:
    folder = shared(tmp_path)
    before = os.umask(0o077)
    try:
        granted(claim([gpu_lock("GPU-1", folder)], mark=mine())).release()
        granted(claim([identity_lock(tmp_path, "sha256:ab")], mark=mine())).release()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "GPU-1.lock").stat().st_mode) == 0o666
    assert stat.S_IMODE((tmp_path / ".locks").stat().st_mode) == stat.S_IMODE(tmp_path.stat().st_mode)
    assert gpu_folder().name == "lockstep-gpus"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_sees_who_holds_a_gpu_and_takes_it_afterwards() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        os.chmod(made, 0o1777)
        path = gpu_lock("GPU-1", Path(made) / "lockstep-gpus")
        words = [sys.executable, "-c", HOLD.replace("#", ""), "nobodys", str(path)]

        def as_nobody() -> str:
            return subprocess.run(words, cwd=PROJECT, input="", text=True, capture_output=True, check=True).stdout

        with granted(claim([path], mark=mine())):
            assert as_nobody() == "held\n"
        assert as_nobody() == "got\n"
        granted(claim([path], mark=mine())).release()
        path.unlink()
        assert as_nobody() == "got\n"
        assert path.stat().st_uid == 65534
        granted(claim([path], mark=mine())).release()


PLANTS: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda path, target: path.symlink_to(target),
    "second name": lambda path, target: path.hardlink_to(target),
    "pipe": lambda path, target: os.mkfifo(path),
    "folder": lambda path, target: path.mkdir(),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_in_its_place_is_refused_and_not_touched(tmp_path: Path, plant: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = shared(tmp_path)
    folder.mkdir()
    folder.chmod(0o1777)
    PLANTS[plant](folder / "GPU-1.lock", victim)
    with pytest.raises(Unavailable, match=r"GPU-1\.lock.*remove"):
        claim([gpu_lock("GPU-1", folder)], mark=mine())
    assert victim.read_text() == "mine"


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = shared(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        claim([gpu_lock("GPU-1", folder)], mark=mine())
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_its_owner_can_empty_is_refused(tmp_path: Path) -> None:
    folder = shared(tmp_path)
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(Unavailable, match=r"sudo rm -r"):
        claim([gpu_lock("GPU-1", folder)], mark=mine())


def test_a_failing_engine_leaves_no_lock_behind(paths: list[Path]) -> None:
    with holder(*paths) as process:
        kill(process)

    def alive(mark: Mark) -> bool:
        raise Unavailable("no docker engine answers")

    with pytest.raises(Unavailable, match="no docker"):
        claim(paths, mark=mine(), alive=alive)
    granted(claim(paths, mark=mine())).release()
