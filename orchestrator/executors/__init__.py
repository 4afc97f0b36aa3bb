"""Where jobs run. Each backend is imported only when it is chosen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import Unavailable, UsageError, did_you_mean
from orchestrator.executors.protocol import Executor

if TYPE_CHECKING:
    from orchestrator.executors.container import Image
    from orchestrator.executors.venv_install import Recipe

EXECUTORS = ("auto", "docker", "podman", "venv")


@dataclass(frozen=True, kw_only=True)
class Backing:
    """What the executors need from the parts above them.

    `resolve_image` finds an environment's built image, `recipe` says how its venv is made; both raise
    EnvironmentUnavailable with the remedy. `uv` gives uv's path. `runner` holds the package `lockstep_runner`.
    `fetch_network` is the engine's network for the jobs that may have one.
    """

    root: Path
    resolve_image: Callable[[str], Image]
    recipe: Callable[[str], Recipe]
    uv: Callable[[], str]
    venvs: Path
    runner: Path
    unsandboxed: bool = False
    fetch_network: str = "bridge"


def project_name(root: Path) -> str:
    """What marks the containers of one checkout, so that others are left alone."""
    path = root.resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def engine_answers(environ: Mapping[str, str] = os.environ) -> bool:
    """Is there a docker-compatible engine, so that `auto` means containers?"""
    from orchestrator.executors.container_engine import connect

    try:
        connect("docker", environ).api.close()
    except Unavailable:
        return False
    return True


def choose(
    executor: str,
    backing: Backing,
    *,
    say: Callable[[str], None] = print,
    environ: Mapping[str, str] = os.environ,
) -> Executor:
    """The executor of that name; `auto` takes docker where an engine answers, else says so in one line and takes venvs.

    Raises Unavailable (exit code 4) when the one asked for is not here, UsageError for an unknown name.
    """
    if executor not in EXECUTORS:
        guess = did_you_mean(executor, EXECUTORS)
        raise UsageError(f"unknown executor {executor!r}{guess}; one of {', '.join(EXECUTORS)}")
    if executor == "venv":
        return _venv(backing, say)
    try:
        return _container("docker" if executor == "auto" else executor, backing, environ)
    except Unavailable as error:
        if executor != "auto":
            raise
        said = error.problems[0].partition(": start it")[0]
        say(f"{said}; the same locks are used in venvs, without isolation")
        return _venv(backing, say)


def _container(kind: str, backing: Backing, environ: Mapping[str, str]) -> Executor:
    from orchestrator.executors.container import ContainerExecutor
    from orchestrator.executors.container_engine import connect

    return ContainerExecutor(
        engine=connect(kind, environ),
        resolve_image=backing.resolve_image,
        project=project_name(backing.root),
        fetch_network=backing.fetch_network,
    )


def _venv(backing: Backing, say: Callable[[str], None]) -> Executor:
    from orchestrator.executors.venv import VenvExecutor
    from orchestrator.executors.venv_install import VenvStore

    store = VenvStore(folder=backing.venvs, recipe=backing.recipe, uv=backing.uv(), say=say)
    return VenvExecutor(store=store, runner=backing.runner, unsandboxed=backing.unsandboxed)
