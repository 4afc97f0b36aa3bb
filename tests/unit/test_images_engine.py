"""Which docker command is used, and how its failures read. The commands are small scripts on a PATH of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import LockstepError, Unavailable
from orchestrator.images.engine import Engine, any_engine, building_engine, lacks_buildkit, programs

# What these versions print, captured: Debian 12's docker.io, a client without plugins, podman under docker's name.
WITH_PLUGIN = (
    'case "$*" in "buildx version") echo "github.com/docker/buildx v0.17.1";; *) echo "Docker version 27.3.1";; esac'
)
DEBIAN_12 = """case "$1" in
buildx) echo "docker: 'buildx' is not a docker command." >&2; exit 1;;
*) echo "Docker version 20.10.24+dfsg1, build 297e128";; esac"""
NO_PLUGIN = DEBIAN_12.replace("20.10.24+dfsg1", "28.2.2")
PODMAN = 'case "$*" in "buildx version") echo "buildah 1.28.2";; *) echo "podman version 4.3.1";; esac'
DEAD = 'echo "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?" >&2; exit 1'


def script(folder: Path, body: str, name: str = "docker") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def path_of(*folders: Path) -> dict[str, str]:
    return {"PATH": ":".join(str(folder) for folder in folders)}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (WITH_PLUGIN, None),
        (DEBIAN_12, None),
        (NO_PLUGIN, "version 28.2 without the buildx plugin"),
        (PODMAN, "podman, not docker"),
        ("exit 1", "not docker (no version)"),
    ],
)
def test_buildkit_is_told_from_what_the_command_says_of_itself(tmp_path: Path, body: str, reason: str | None) -> None:
    assert lacks_buildkit(str(script(tmp_path, body))) == reason


def test_the_first_command_with_buildkit_is_taken_not_the_first_of_all(tmp_path: Path) -> None:
    first, second = script(tmp_path / "a", NO_PLUGIN), script(tmp_path / "b", DEBIAN_12)
    environ = path_of(tmp_path / "a", tmp_path / "empty", tmp_path / "b")
    assert programs(environ) == [str(first), str(second)]
    assert building_engine(environ).program == str(second)
    assert any_engine(environ).program == str(first)


def test_none_with_buildkit_is_one_line_with_every_reason(tmp_path: Path) -> None:
    script(tmp_path / "a", NO_PLUGIN)
    script(tmp_path / "b", PODMAN)
    with pytest.raises(Unavailable) as caught:
        building_engine(path_of(tmp_path / "a", tmp_path / "b"))
    (line,) = caught.value.problems
    assert "a/docker: version 28.2 without the buildx plugin; " in line
    assert "b/docker: podman, not docker" in line
    assert line.endswith("DOCKER=/path/to/docker make images")
    assert "\n" not in line


def test_a_named_command_is_the_only_one(tmp_path: Path) -> None:
    other = script(tmp_path / "elsewhere", WITH_PLUGIN, "mydocker")
    script(tmp_path / "a", DEBIAN_12)
    environ = {**path_of(tmp_path / "a"), "DOCKER": str(other)}
    assert programs(environ) == [str(other)]
    with pytest.raises(Unavailable, match="DOCKER=nothing: no such command"):
        programs({**environ, "DOCKER": "nothing"})


def test_without_any_command_the_line_names_the_venvs(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"no docker command on the PATH: .*--executor venv"):
        any_engine(path_of(tmp_path))


def test_an_engine_that_does_not_answer_is_unavailable_and_a_failed_question_is_not(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"no container engine answers \(Cannot connect.*--executor venv"):
        Engine(program=str(script(tmp_path, DEAD))).tags("lockstep/*")
    refusing = Engine(program=str(script(tmp_path, 'echo "Error: No such image: x" >&2; exit 1')))
    with pytest.raises(LockstepError, match="No such image: x") as caught:
        refusing.inspect("x")
    assert not isinstance(caught.value, Unavailable)


def test_tags_are_read_without_the_untagged(tmp_path: Path) -> None:
    engine = Engine(
        program=str(
            script(
                tmp_path,
                'echo "lockstep/a:1 sha256:x"; echo "lockstep/a:<none> sha256:y"; echo "localhost/lockstep/b:2 sha256:z"',
            )
        )
    )
    assert engine.tags("lockstep/*") == {"lockstep/a:1": "sha256:x", "lockstep/b:2": "sha256:z"}


def test_the_container_that_a_file_is_read_from_is_removed_when_the_copy_fails(tmp_path: Path) -> None:
    said = tmp_path / "said"
    body = f'echo "$1" >> {said}; case $1 in create) echo c1;; cp) echo "no such file" >&2; exit 1;; esac'
    with pytest.raises(LockstepError, match="no such file"):
        Engine(program=str(script(tmp_path, body))).read_file("image", "/etc/x")
    assert said.read_text().split() == ["create", "cp", "rm"]
