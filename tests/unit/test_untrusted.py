"""Files that a job may have written are read as what they are, or refused in one line, and nothing blocks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.untrusted import NotPlain, check_folder, is_plain, open_plain, parse_json, read_plain, remove_litter


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A run's folder with all that is no file in it; `private` lies outside."""
    run = tmp_path / "run"
    (run / "cell").mkdir(parents=True)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "file").write_text("private", encoding="utf-8")
    (run / "cell" / "file").write_text("ours", encoding="utf-8")
    (run / "cell" / "link").symlink_to(tmp_path / "private" / "file")
    (run / "cell" / "dangling").symlink_to(tmp_path / "nothing")
    (run / "cell" / "inner").symlink_to("file")
    (run / "away").symlink_to(tmp_path / "private")
    (run / "cell" / "folder").mkdir()
    os.mkfifo(run / "cell" / "pipe")
    with open(run / "cell" / "huge", "wb") as file:
        file.truncate(5 * 2**30)
    with closing(socket.socket(socket.AF_UNIX)) as one:
        here = Path.cwd()
        os.chdir(run / "cell")  # a socket's path may have 108 bytes
        one.bind("socket")
        os.chdir(here)
        yield run


REFUSED = {
    "cell/link": "link is a link, not a file",
    "cell/dangling": "dangling is a link, not a file",
    "cell/inner": "inner is a link, not a file",
    "cell/folder": "folder is a folder, not a file",
    "cell/pipe": "pipe is a named pipe, not a file",
    "cell/socket": "socket is a socket, not a file",
    "cell/huge": "huge has 5368709120 bytes, more than the 100 that are read of such a file",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("rooted", [False, True])
def test_what_is_no_plain_file_is_refused_in_one_line(out: Path, name: str, rooted: bool) -> None:
    with pytest.raises(NotPlain) as refused:
        read_plain(out / name, limit=100, below=out if rooted else None)
    assert str(refused.value) == REFUSED[name]
    assert is_plain(out / name) is (name == "cell/huge")


def test_a_plain_file_is_read_up_to_its_limit(out: Path) -> None:
    path = out / "cell" / "file"
    assert read_plain(path, limit=4, below=out) == read_plain(path, limit=4) == b"ours"
    assert is_plain(path, below=out)
    with open_plain(path, below=out) as file:
        assert file.read(2) == b"ou"
    with pytest.raises(NotPlain, match="file has 4 bytes, more than the 3 "):
        read_plain(path, limit=3)


def test_a_link_on_the_way_is_seen_where_the_run_is_named(out: Path) -> None:
    assert read_plain(out / "away" / "file", limit=100) == b"private"
    for place in (out / "away" / "file", out / "cell" / "file" / "x"):
        with pytest.raises(NotPlain, match=r"is a (link|file), not a folder"):
            read_plain(place, limit=100, below=out)
    assert not is_plain(out / "away" / "file", below=out)
    with pytest.raises(NotPlain, match="leaves run"):
        read_plain(out / "cell" / ".." / ".." / "private" / "file", limit=100, below=out)


def test_the_run_itself_may_lie_behind_a_link(out: Path) -> None:
    (out.parent / "latest").symlink_to(out)
    latest = out.parent / "latest"
    assert read_plain(latest / "cell" / "file", limit=100, below=latest) == b"ours"


def test_what_is_missing_says_where(out: Path) -> None:
    for place in (out / "cell" / "nothing", out / "nothing" / "file"):
        for below in (None, out):
            with pytest.raises(FileNotFoundError) as missing:
                read_plain(place, limit=100, below=below)
            assert str(missing.value.filename).startswith(str(out))
            assert not is_plain(place, below=below)


def test_folders(out: Path) -> None:
    check_folder(out / "cell" / "folder", below=out)
    check_folder(out, below=out)
    for wrong in (out / "away", out / "cell" / "pipe", out / "cell" / "file"):
        with pytest.raises(NotPlain, match="not a folder"):
            check_folder(wrong, below=out)
    with pytest.raises(FileNotFoundError):
        check_folder(out / "gone", below=out)


def test_litter_is_removed_and_what_it_pointed_to_stays(out: Path) -> None:
    assert remove_litter(out) == [
        "away (a link)",
        *(f"cell/{name} (a link)" for name in ("dangling", "inner", "link")),
        "cell/pipe (a named pipe)",
        "cell/socket (a socket)",
    ]
    assert sorted(path.name for path in (out / "cell").iterdir()) == ["file", "folder", "huge"]
    assert (out.parent / "private" / "file").read_text(encoding="utf-8") == "private"
    assert remove_litter(out) == []
    (out.parent / "latest").symlink_to(out)
    with pytest.raises(NotPlain, match="latest is a link"):
        remove_litter(out.parent / "latest")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "{", ""])
def test_json_that_cannot_be_read_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_nothing_stays_open(out: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in [*REFUSED, "cell/file", "cell/nothing", "away/file", "nothing/file"]:
        is_plain(out / name, below=out)
        is_plain(out / name)
    assert len(os.listdir("/proc/self/fd")) == before
