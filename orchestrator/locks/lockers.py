"""The two resolvers, uv and pip-compile, each run in a folder of its own: requirements in, pins with hashes out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import LockstepError, Unavailable, UsageError
from orchestrator.layout import ProjectLayout
from orchestrator.locks.lockfile import Input

LOCKERS = ("uv", "pip-compile")
# Whatever this machine's pip or uv is told to look at beside its index stays out of a lock.
_LOCAL = ("PIP_FIND_LINKS", "UV_FIND_LINKS", "PIP_NO_BINARY", "PIP_ONLY_BINARY", "UV_EXCLUDE_NEWER", "VIRTUAL_ENV")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One resolution: `source` in, `output` out; pins that are already in `output` are preferred.

    Without `follow` dependencies are left out, which only uv can do.
    """

    source: Path
    output: Path
    settings: Mapping[str, str]
    constraints: Sequence[Path] = ()
    follow: bool = True
    upgrade: bool = False
    hashes: bool = True


def uv_path() -> str:
    """The uv beside this Python, else the one on the PATH. Raises Unavailable when there is none."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise Unavailable("uv is not installed here: make .venv (it is in requirements-locks/host.txt)")
    return found


def locker_of(source: Input, override: str | None) -> str:
    """`override` (LOCKER=), else what the `.in` file asks for, else uv."""
    locker = override or source.settings.get("locker", "uv")
    if locker not in LOCKERS:
        raise UsageError(f"unknown locker {locker!r}: one of {', '.join(LOCKERS)}")
    return locker


def describe(locker: str, settings: Mapping[str, str]) -> str:
    """What the header says: the resolver's name and the settings that it was given."""
    known = ("python", "platform", "exclude-newer") if locker == "uv" else ("python",)
    return " ".join([locker, *(f"--{key} {settings[key]}" for key in known if key in settings)])


def resolve(locker: str, request: Request) -> None:
    """Write `request.output`. Raises LockstepError with the resolver's own last lines, Unavailable when offline."""
    arguments = _uv(request) if locker == "uv" else _pip_compile(request)
    environment = {key: value for key, value in os.environ.items() if key not in _LOCAL}
    done = subprocess.run(
        arguments, cwd=request.source.parent, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode == 0:
        return
    said = "\n".join(done.stderr.strip().splitlines()[-12:])
    name = request.source.stem.removesuffix(".no-deps")
    if any(word in said.lower() for word in ("failed to fetch", "connection", "name resolution", "dns error")):
        raise Unavailable(
            f"{name}: the package index cannot be reached ({said.splitlines()[-1].strip()}); "
            "without a network: python run_matrix.py locks --check --offline"
        )
    raise LockstepError(f"requirements-locks/{name}.in: {locker} finds no solution:\n{said}")


def _uv(request: Request) -> list[str]:
    arguments = [uv_path(), "pip", "compile", "--quiet", "--no-header", request.source.name]
    arguments += ["--output-file", request.output.name]
    arguments += ["--python-version", request.settings.get("python", "3.11")]
    if "platform" in request.settings:
        arguments += ["--python-platform", request.settings["platform"]]
    if "exclude-newer" in request.settings:
        arguments += ["--exclude-newer", request.settings["exclude-newer"]]
    arguments += ["--only-binary", ":all:"] if request.follow else ["--no-deps"]
    arguments += ["--generate-hashes"] if request.hashes else []
    arguments += ["--upgrade"] if request.upgrade else []
    return arguments + [part for path in request.constraints for part in ("--constraint", path.name)]


def _pip_compile(request: Request) -> list[str]:
    program = pip_compile_path(request.settings.get("python", "3.11"))
    arguments = [program, "--quiet", "--no-header", "--allow-unsafe", "--strip-extras", request.source.name]
    arguments += ["--output-file", request.output.name, "--generate-hashes"]
    # A machine's own index, folders and hosts would otherwise be written into the lock.
    arguments += ["--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--no-emit-options"]
    arguments += ["--pip-args=--only-binary :all:"]
    arguments += ["--upgrade"] if request.upgrade else []
    return arguments + [part for path in request.constraints for part in ("--constraint", path.name)]


def pip_compile_path(python: str) -> str:
    """pip-compile under Python `python` (such as `3.10`): pip-tools resolves for the interpreter that runs it.

    It is installed from host.txt, which serves all these interpreters, into a venv under `cache/`.
    """
    layout = ProjectLayout()
    folder = layout.cache / "lockers" / python
    program = folder / "bin" / "pip-compile"
    if not program.exists():
        _uv_run("venv", "--quiet", "--clear", "--python", python, str(folder), wants=python)
        lock = layout.locks / "host.txt"
        _uv_run("pip", "sync", "--quiet", "--require-hashes", "--python", str(folder), str(lock), wants=python)
    return str(program)


def _uv_run(*arguments: str, wants: str) -> None:
    done = subprocess.run([uv_path(), *arguments], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise Unavailable(f"pip-compile needs Python {wants} ({said}); it can be had with: uv python install {wants}")
