"""What runs of this project left behind when they were killed: containers in the engine, signed locks. Nobody else's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from orchestrator.claims.claims import Blocked, Claim, claim, gpu_folder, make_mark, probe
from orchestrator.claims.process import Life
from orchestrator.errors import LockstepError, Unavailable
from orchestrator.executors import project_name
from orchestrator.executors.container_config import LABEL, ROOT
from orchestrator.executors.container_engine import BROKEN, Engine, NotFound, connect, explain, labelled, remove
from orchestrator.executors.container_found import owner_of
from orchestrator.layout import PROJECT, RunLayout
from orchestrator.runs.live import is_alive, process_of, read_live
from orchestrator.settings import settings

_GRACE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """`kept`: somebody is at work on it · `unsure`: it runs, and nobody says for whom · `left`: nobody's any more.

    `container` is its id, `lock` its file; one of them is there. `job`: run id and job key.
    """

    name: str
    state: Literal["kept", "unsure", "left"]
    why: str
    job: tuple[str, str]
    container: str = ""
    lock: Path | None = None


def open_engine(kind: str) -> Engine:
    """`auto`: docker, or podman where docker does not answer. Raises Unavailable of the first that was asked."""
    environ = settings()
    try:
        return connect("docker" if kind == "auto" else kind, environ)
    except Unavailable:
        if kind != "auto":
            raise
        try:
            return connect("podman", environ)
        except Unavailable:
            pass
        raise


def find_leftovers(engine: Engine, outputs: Path) -> list[Leftover]:
    """Everything of this project's, what is kept included. Raises Unavailable where the engine breaks off."""
    locks = [*sorted((outputs / ".locks").glob("*.lock")), *sorted(gpu_folder().glob("*.lock"))]
    blocked = [b for b in probe(locks) if b.holder is not None and b.holder.project == project_name(PROJECT)]
    try:
        containers = [
            _container(container, inspected, blocked)
            for container in labelled(engine, project=project_name(PROJECT))
            if (inspected := _inspect(engine, container)) is not None
        ]
    except BROKEN as error:
        raise Unavailable(f"{engine.facts.kind} engine: {explain(error)}; nothing was removed") from error
    at_work = {found.job for found in containers if found.state != "left"}
    return [*containers, *(_lock(b, at_work) for b in blocked if b.state != "held")]


def _inspect(engine: Engine, container: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = engine.api.inspect_container(container)
    except NotFound:
        return None
    return found


def _container(container: str, inspected: Mapping[str, Any], blocked: list[Blocked]) -> Leftover:
    labels = inspected["Config"].get("Labels") or {}
    run_id, key = (str(labels.get(f"{LABEL}.{name}", "")) for name in ("run", "job"))
    name = str(inspected["Name"]).lstrip("/")
    running, status = bool(inspected["State"]["Running"]), str(inspected["State"]["Status"])
    state: Literal["kept", "unsure", "left"] = "left"
    if why := _worker(labels, inspected, run_id, key, blocked):
        state = "kept"
    elif running and owner_of(labels) is None:
        state, why = "unsure", "it does not say for whom"
    else:
        why = f"run {run_id}, which it worked for, is not at work"
    return Leftover(name=name, state=state, why=f"{status}; {why}", job=(run_id, key), container=container)


def _worker(
    labels: Mapping[str, str], inspected: Mapping[str, Any], run_id: str, key: str, blocked: list[Blocked]
) -> str:
    """Who is at work on it: its owner, its run that goes on, or another run that adopts it. Empty: nobody."""
    owner = owner_of(labels)
    if owner is not None and owner.life is not Life.DEAD:
        doubt = ", which cannot be looked at from here" if owner.life is Life.ELSEWHERE else ""
        return f"run {run_id} is at work on it (pid {owner.pid} on {owner.host}{doubt})"
    run = _run_of(inspected)
    if run is not None:
        try:
            live = read_live(run)
        except LockstepError:
            live = None
        if live is not None and is_alive(live):
            return f"run {run_id} is at work (pid {process_of(live).pid})"
    for one in blocked:
        if one.state == "held" and one.holder and (one.holder.run_id, one.holder.job_key) == (run_id, key):
            return "another run sees it to its end"
    return ""


def _run_of(inspected: Mapping[str, Any]) -> RunLayout | None:
    """The run whose folder holds its job.json. None for what a person started, as `repro` does."""
    for mount in inspected.get("Mounts") or ():
        if mount.get("Destination") == f"{ROOT}/work/job.json":
            parts = PurePosixPath(str(mount.get("Source"))).parts
            if len(parts) > 4 and parts[-4] == "jobs":
                return RunLayout(root=Path(*parts[:-4]))
    return None


def _lock(blocked: Blocked, at_work: set[tuple[str, str]]) -> Leftover:
    holder = blocked.holder
    assert holder is not None
    job = (holder.run_id, holder.job_key)
    state: Literal["kept", "left"] = "kept" if blocked.state == "elsewhere" or job in at_work else "left"
    why = f"its container is kept; {blocked.text}" if job in at_work else blocked.text
    return Leftover(name=f"lock {blocked.name[:40]}", state=state, why=why, job=job, lock=blocked.path)


def remove_leftover(engine: Engine, leftover: Leftover) -> bool:
    """Whether it is gone: a lock that somebody took meanwhile stays. Raises Unavailable where the engine breaks off."""
    if leftover.lock is not None:
        got = claim([leftover.lock], mark=make_mark(run_id="clean", folder=PROJECT, project=project_name(PROJECT)))
        if isinstance(got, Claim):
            got.release()
        return isinstance(got, Claim)
    try:
        remove(engine, leftover.container)
    except BROKEN as error:
        raise Unavailable(f"{engine.facts.kind} engine: {explain(error)}; {leftover.name} is still there") from error
    return True


def stop_run(engine: Engine, run_id: str) -> list[str]:
    """Stop, then remove the containers of one run of this project; their names. Raises Unavailable."""
    names = []
    try:
        for container in labelled(engine, project=project_name(PROJECT), run=run_id):
            inspected = _inspect(engine, container)
            if inspected is None:
                continue
            if inspected["State"]["Running"]:
                engine.api.stop(container, timeout=_GRACE_SECONDS)
            remove(engine, container)
            names.append(str(inspected["Name"]).lstrip("/"))
    except BROKEN as error:
        what = f"what it still holds of run {run_id} can be removed later: python run_matrix.py clean --yes"
        raise Unavailable(f"{engine.facts.kind} engine: {explain(error)}; {what}") from error
    return names
