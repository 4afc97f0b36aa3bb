"""The text of locks and of what they are made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import LockstepError
from orchestrator.layout import ProjectLayout
from orchestrator.locks.compiling import known_locks, sync_commands
from orchestrator.locks.lockfile import Lock, body_checksum, canonical, parse_pins, read_input, render

A, B = "a" * 64, "b" * 64
BLOCK = f"""\
Six_Pack==1.17.0 \\
    --hash=sha256:{B} \\
    --hash=sha256:{A}
    # via other
plain[extra]==2 --hash=sha256:{A}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.in").write_text("# lock: python 3.11\n# lock: exclude-newer 2025-07-15\nsix\n")
    (tmp_path / "part.in").write_text("timeout-decorator==0.5.0  # lock: no-deps sdist; no wheel of it exists\n")
    (tmp_path / "env.in").write_text("-r base.in\n-c base.txt\n-r part.in\nbig==1  # lock: no-deps\nsmall>=2  # why\n")
    (tmp_path / "base.txt").write_text(f"six==1.17.0 --hash=sha256:{A}\n")
    return tmp_path


def test_blocks_are_read_with_canonical_names_and_sorted_hashes() -> None:
    pins = parse_pins(BLOCK)
    assert {name: pin.version for name, pin in pins.items()} == {"six-pack": "1.17.0", "plain": "2"}
    assert pins["six-pack"].hashes == (f"sha256:{A}", f"sha256:{B}")
    assert "# via other" in pins["six-pack"].text


def test_names_compare_as_the_packaging_standard_says() -> None:
    # the example of PEP 503
    assert {canonical(name) for name in ("Friendly-Bard", "FRIENDLY-BARD", "friendly.bard", "friendly--bard")} == {
        "friendly-bard"
    }


def test_an_input_is_flattened(folder: Path) -> None:
    source = read_input(folder / "env.in")
    assert source.requirements == ("six", "small>=2")
    assert source.no_deps == ("timeout-decorator==0.5.0", "big==1")
    assert source.sdists == ("timeout-decorator",)
    assert source.settings == {"python": "3.11", "exclude-newer": "2025-07-15"}
    assert [path.name for path in source.constraints] == ["base.txt"]


def test_all_mistakes_of_an_input_come_at_once_with_file_and_line(folder: Path) -> None:
    (folder / "env.in").write_text(
        "-r absent.in\n--index-url x\na>1  # lock: no-deps\nb==1  # lock: sdist\nc==1  # lock: nodeps\n# lock: pyton\n"
    )
    with pytest.raises(LockstepError) as caught:
        read_input(folder / "env.in")
    problems = [problem.replace(f"{folder}/", "") for problem in caught.value.problems]
    assert problems[0].startswith("absent.in: No such file or directory")
    assert [problem.split(": ")[0] for problem in problems[1:]] == [f"env.in:{n}" for n in (2, 3, 4, 5, 6)]


def test_an_option_in_an_input_is_refused_as_it_could_name_an_index(folder: Path) -> None:
    (folder / "env.in").write_text("--extra-index-url https://somewhere.invalid/simple\n")
    with pytest.raises(LockstepError, match=r"env\.in:1: option '--extra-index-url' is not allowed here"):
        read_input(folder / "env.in")


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("env.in", "small>=2", "small>=3", True),
        ("env.in", "# why", "# a better reason", False),
        ("base.in", "2025-07-15", "2025-08-15", True),
        ("part.in", "no-deps sdist", "no-deps", True),
        ("base.txt", "1.17.0", "1.16.0", True),
        ("base.txt", A, B, False),
    ],
)
def test_the_checksum_of_inputs_knows_what_decides_a_lock(
    folder: Path, file: str, old: str, new: str, changes: bool
) -> None:
    before = read_input(folder / "env.in").checksum
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (read_input(folder / "env.in").checksum != before) is changes


def test_a_rendered_lock_reads_back(folder: Path) -> None:
    source = read_input(folder / "env.in")
    text = render("env", source, parse_pins(BLOCK), locker="uv")
    lock = Lock.parse(text)
    assert lock.header["command"] == "make locks ENV=env"
    assert lock.header["inputs"] == source.checksum
    assert lock.header["body"] == lock.body_checksum == body_checksum(text.split("\n\n", 1)[1])
    assert lock.versions == {"plain": "2", "six-pack": "1.17.0"}
    assert lock.body.splitlines()[:2] == ["--only-binary :all:", "--no-binary timeout-decorator"]
    assert lock.unhashed == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [("six==1.17.0", "six"), (f"six>=1.17.0 --hash=sha256:{A}", "six>=1.17.0"), ("six @ file:///x", "six")],
)
def test_a_requirement_without_version_or_hash_is_seen(line: str, name: str) -> None:
    assert Lock.parse(f"{BLOCK}{line}\n").unhashed == (name,)


def test_locks_are_ordered_by_their_constraints_and_parts_are_no_locks(folder: Path) -> None:
    (folder / "base.in").rename(folder / "zbase.in")
    (folder / "base.txt").rename(folder / "zbase.txt")
    (folder / "env.in").write_text("-r zbase.in\n-c zbase.txt\n-r part.in\n")
    assert known_locks(folder) == ("zbase", "env")


def test_an_environment_is_installed_from_locks_alone_the_shared_one_first(folder: Path) -> None:
    commands = sync_commands("env", uv="uv", python=Path("v/bin/python"), folder=folder)
    assert [Path(command[-1]).name for command in commands] == ["base.txt", "env.txt"]
    assert all("--require-hashes" in command and "sync" in command for command in commands)


def test_the_committed_environments_agree_with_the_shared_layer_in_every_version_and_hash() -> None:
    locks = ProjectLayout().locks
    base = Lock.read(locks / "base.txt").pins
    for name in ("tf-4.33", "tf-4.37", "tf-4.42"):
        pins = Lock.read(locks / f"{name}.txt").pins
        different = [key for key, pin in base.items() if key not in pins or pins[key].hashes != pin.hashes]
        assert different == [], name
        assert {key: pins[key].version for key in base} == {key: pin.version for key, pin in base.items()}, name


def test_no_committed_lock_names_an_index_a_host_or_a_folder() -> None:
    for path in ProjectLayout().locks.glob("*.txt"):
        lines = path.read_text(encoding="utf-8").splitlines()
        options = {line.split()[0] for line in lines if line.startswith("-")}
        assert options <= {"--only-binary", "--no-binary"}, path.name
        assert not [line for line in lines if "://" in line or "find-links" in line], path.name
