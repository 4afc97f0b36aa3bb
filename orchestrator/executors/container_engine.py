"""Finding a container engine and speaking with it: the only module that imports the docker SDK."""

from __future__ import annotations

import os
import re
import resource
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import requests
import urllib3
from docker.context import ContextAPI
from docker.errors import APIError, DockerException
from docker.errors import NotFound as NotFound  # the one error that callers tell apart
from docker.utils import kwargs_from_env

from orchestrator.errors import Unavailable
from orchestrator.executors.container_config import EngineFacts

# What the SDK lets through when an engine refuses, vanishes or is cut off in the middle of an answer.
BROKEN = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
_ANSWER_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A connection (`docker.APIClient`, safe to use from several threads), what it is and where."""

    api: Any
    facts: EngineFacts
    address: str


def connect(kind: str, environ: Mapping[str, str] = os.environ) -> Engine:
    """Reach the engine as the docker CLI would (DOCKER_CONTEXT, DOCKER_HOST, the current context), or podman's socket.

    Raises Unavailable with what to type when nothing answers.
    """
    where = _podman_address(environ) if kind == "podman" else _docker_address(environ)
    address = str(where.get("base_url") or "the default socket")
    try:
        _knock(address)
        api = docker.APIClient(version="auto", timeout=_ANSWER_SECONDS, **where)
        facts = read_facts(api.version(), api.info())
        if facts.kind == "podman" and not facts.rootless:
            facts = replace(facts, limits=_own_limits())
        return Engine(api=api, facts=facts, address=address)
    except BROKEN as error:
        remedy = "systemctl --user start podman.socket" if kind == "podman" else "sudo systemctl start docker"
        raise Unavailable(
            f"no {kind} engine answers at {address} ({explain(error)}): start it ({remedy}) and see that you may use "
            "it, or use no container: python run_matrix.py --executor venv"
        ) from error


def _own_limits() -> dict[str, int]:
    """Podman as root asks for fixed high limits, which fails where root is itself confined; ours can always be had.

    It has cut its own number of processes to the kernel's before it starts one.
    """
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    files, processes = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    return {"nofile": files, "nproc": most if processes == resource.RLIM_INFINITY else min(processes, most)}


def _knock(address: str) -> None:
    """Raises OSError where nothing listens; what the SDK would say of that is a chain of five exceptions."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)


def _docker_address(environ: Mapping[str, str]) -> dict[str, Any]:
    name = environ.get("DOCKER_CONTEXT")
    if not name and environ.get("DOCKER_HOST"):
        return dict(kwargs_from_env(environment=environ))
    context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
    if context is None:
        raise Unavailable(f"there is no docker context {name!r}: docker context ls")
    address: dict[str, Any] = {"base_url": context.Host} if context.Host else {}
    if context.TLSConfig is not None:
        address["tls"] = context.TLSConfig
    return address


def _podman_address(environ: Mapping[str, str]) -> dict[str, Any]:
    if given := environ.get("CONTAINER_HOST"):
        return {"base_url": given}
    own = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "podman" / "podman.sock"
    return {"base_url": f"unix://{own if own.exists() else '/run/podman/podman.sock'}"}


def read_facts(version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineFacts:
    """From the answers to `/version` and `/info`."""
    components = {str(part.get("Name")): str(part.get("Version", "")) for part in version.get("Components") or ()}
    podman = next((components[name] for name in components if name.startswith("Podman")), None)
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    # podman says it by a field of its own, docker and later podman among the security options
    rootless = bool(info.get("Rootless")) or any(option.startswith("name=rootless") for option in options)
    return EngineFacts(
        kind="docker" if podman is None else "podman",
        version=tuple(int(n) for n in re.findall(r"\d+", podman or str(version.get("Version", "")))[:2]),
        rootless=rootless,
        remapped=any(option.startswith("name=userns") for option in options),
        unlimited=_unlimited(info, rootless),
    )


def _unlimited(info: Mapping[str, Any], rootless: bool) -> str:
    """Some engines take limits that they cannot keep, and start the container without them."""
    if rootless and str(info.get("CgroupVersion")) == "1":
        return "without root on cgroups v1"
    if info.get("CgroupDriver") == "none":
        return "without cgroups of its own"
    return "" if info.get("MemoryLimit", True) else "on a kernel without the memory cgroup"


def describe(facts: EngineFacts) -> dict[str, object]:
    """For records: what the engine is, and not where."""
    version = ".".join(map(str, facts.version))
    return {"kind": facts.kind, "version": version, "rootless": facts.rootless, "remapped": facts.remapped}


def explain(error: BaseException) -> str:
    """One line of what an engine or the SDK said, without the layers of exceptions around it."""
    said = error.explanation if isinstance(error, APIError) and error.explanation else error
    while isinstance(said, (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)) and said.args:
        inner = said.args[-1]
        said = getattr(inner, "reason", None) or inner
    if isinstance(said, OSError) and said.strerror:
        said = said.strerror
    text = " ".join(str(said).split())
    if isinstance(error, APIError) and "could not select device driver" in text:
        return (
            "the engine cannot give GPUs to containers: install the NVIDIA Container Toolkit, then "
            "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
        )
    return text if len(text) <= 400 else text[:399] + "…"


class ImageGone(Exception):
    """The engine does not have the image that a container was to be made of."""


@contextmanager
def created(engine: Engine, config: Mapping[str, Any], name: str) -> Iterator[str]:
    """A container's id, not started yet; removed at the end whatever happened.

    An engine has no two of one name. Raises ImageGone; FileExistsError where another process has just made it.
    """
    try:
        container = str(engine.api.create_container_from_config(dict(config), name)["Id"])
    except NotFound as error:
        raise ImageGone(explain(error)) from error
    except APIError as error:
        if error.status_code == 409 or "in use" in explain(error):  # podman 4 says 500
            raise FileExistsError(f"container {name} is there already: {explain(error)}") from error
        raise
    with removed(engine, container):
        yield container


@contextmanager
def removed(engine: Engine, container: str) -> Iterator[None]:
    """The container is gone after this block, whatever happened."""
    try:
        yield
    finally:
        remove(engine, container)


def lacks(engine: Engine, container: str, program: str) -> bool:
    """Whether podman would start the container without having the program: its init then ends as any program might.

    Docker refuses such a start itself.
    """
    if engine.facts.kind != "podman":
        return False
    url = engine.api._url("/containers/{0}/archive", container)
    return bool(engine.api.head(url, params={"path": program}, timeout=_ANSWER_SECONDS).status_code == 404)


def remove(engine: Engine, container: str) -> None:
    """Kill and remove; what is gone already is fine. Raises one of BROKEN when the engine cannot."""
    with suppress(NotFound):
        try:
            engine.api.remove_container(container, v=True, force=True)
        except APIError as error:
            if error.status_code != 409:  # 409: another removal is in progress
                raise
            engine.api.wait(container, timeout=_ANSWER_SECONDS, condition="removed")


def hang_up(output: Any) -> None:
    """Close what `attach` gave. Its own `close` shuts the connection down and leaves the file descriptor open."""
    output.close()
    output._response.close()


def labelled(engine: Engine, **values: str) -> list[str]:
    """Ids of all containers, running or not, that carry these `org.lockstep.…` labels."""
    wanted = [f"org.lockstep.{key}={value}" for key, value in values.items()]
    return [found["Id"] for found in engine.api.containers(all=True, filters={"label": wanted})]
