"""What the engine is asked for, as pure functions: one job's container, and who it runs as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.claims.process import Process
from orchestrator.executors.protocol import Job, Needs
from orchestrator.executors.surroundings import SECRETS, variables

ROOT = "/lockstep"
UNPRIVILEGED = 10001  # uid and gid inside, where the caller is root
LABEL = "org.lockstep"
OWNER = ("host", "boot", "pid", "start")  # labels that say which process made a container
_GIB = 2**30
PIDS = 4096
_HOME_GIB = 1
FETCH_NETWORK = "bridge"
# of a container's output on the engine's disk: at least the last 32 MB, for who adopts it, at most 64
LOG_KEPT = {"max-size": "32m", "max-file": "2"}
Config = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What an engine says about itself, as far as it changes a request.

    `rootless`: it runs as the caller, whose uid is root's inside. `remapped`: uids inside are others outside.
    `limits`: {name: most} to ask for where the engine's own choice may be more than it is allowed to give.
    `unlimited`: why a limit of memory and of processes is asked for in vain; empty where the engine keeps them.
    """

    kind: str  # docker or podman
    version: tuple[int, ...] = ()
    rootless: bool = False
    remapped: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    unlimited: str = ""


@dataclass(frozen=True, kw_only=True)
class RunAs:
    """The user inside. `owner`: whom `work/out` must belong to meanwhile, None where it needs no change."""

    user: str
    userns: str = ""
    owner: int | None = None


def run_as(facts: EngineFacts, *, uid: int, gid: int) -> RunAs:
    """Never a privileged user: the caller, or a fixed unprivileged one where the caller is root.

    Under a rootless engine root inside is the caller outside; podman can keep the caller's own number.
    """
    if facts.rootless and facts.kind == "podman":
        return RunAs(user=f"{uid}:{gid}", userns="keep-id")
    if facts.rootless:
        return RunAs(user="0:0")
    userns = "host" if facts.remapped else ""
    if uid == 0:
        return RunAs(user=f"{UNPRIVILEGED}:{UNPRIVILEGED}", userns=userns, owner=UNPRIVILEGED)
    return RunAs(user=f"{uid}:{gid}", userns=userns)


def labels(project: str, job: Job, owner: Process | None = None) -> dict[str, str]:
    """How `clean` and a later run find what an interrupted one left, and whether its owner is still there."""
    words = {"project": project, "run": job.run_id, "job": job.key}
    if job.identity:
        words["identity"] = job.identity
    if owner is not None:
        words |= {name: str(getattr(owner, name)) for name in OWNER}
    return {f"{LABEL}.{name}": word for name, word in words.items()}


def configure(
    job: Job,
    *,
    needs: Needs,
    image: str,
    command: Sequence[str],
    who: RunAs,
    facts: EngineFacts,
    labels: Mapping[str, str],
    fetch_network: str = FETCH_NETWORK,
    secrets: Path | None = None,
) -> Config:
    """The body of `POST /containers/create` (engine API 1.41 and later). Sources of mounts become absolute.

    `fetch_network` is the engine's network of a job that may have one; the folder `secrets` is seen as work/secrets.
    """
    environment = variables(tmp="/tmp", home="/tmp/home", needs=needs, job=job)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the root is read-only
    # `void` hides the GPUs also where the engine's default runtime would show them all
    name, value = ("DRIVER_CAPABILITIES", "compute,utility") if needs.gpus else ("VISIBLE_DEVICES", "void")
    environment[f"NVIDIA_{name}"] = value
    return {
        "Image": image,
        "Entrypoint": list(command),
        "Cmd": list(job.arguments),
        "User": who.user,
        "WorkingDir": ROOT,
        "Hostname": "job",
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": dict(labels),
        # the image's own is turned off; podman has none to turn off, and would set a timer for this
        "Healthcheck": {} if facts.kind == "podman" else {"Test": ["NONE"]},
        "HostConfig": {
            **_host_config(needs, who, facts),
            "Mounts": _mounts(job, secrets),
            "NetworkMode": fetch_network if job.network else "none",
        },
    }


def unkept(needs: Needs, facts: EngineFacts) -> str:
    """What the engine would take, leave out and say nothing of, and what to type; empty where there is nothing such."""
    if needs.memory_gb and facts.unlimited:
        return (
            f"{facts.kind} {facts.unlimited} keeps no limit of memory and {needs.memory_gb:g} GB is one: take memory_gb "
            "out of the registry's `run:`, or python run_matrix.py --executor docker, with an engine of root's"
        )
    if needs.gpus and facts.kind == "podman" and facts.version < (5, 4):
        return "podman before 5.4 drops requests for GPUs: update it, or python run_matrix.py --executor docker"
    return ""


def _host_config(needs: Needs, who: RunAs, facts: EngineFacts) -> Config:
    memory = int(needs.memory_gb * _GIB) if needs.memory_gb else 0
    return {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ExtraHosts": ["job:127.0.0.1"],  # without it code that looks up its own host name fails
        "IpcMode": "private",
        "UsernsMode": who.userns,
        "Tmpfs": _scratch(needs, facts),
        "ShmSize": int(needs.shm_gb * _GIB),
        "PidsLimit": PIDS,
        "Memory": memory,
        "MemorySwap": memory,
        "Ulimits": [{"Name": name, "Soft": most, "Hard": most} for name, most in {"core": 0, **facts.limits}.items()],
        "DeviceRequests": _device_requests(needs.gpus, facts),
        "Init": True,
        "LogConfig": {"Type": "json-file", "Config": LOG_KEPT},
    }


def _scratch(needs: Needs, facts: EngineFacts) -> dict[str, str]:
    # podman makes these two writable and unbounded when the root is read-only, unless they are there already
    shut = dict.fromkeys(("/run", "/var/tmp"), "ro,size=4096") if facts.kind == "podman" else {}
    # exec: compiled kernels and extensions are loaded from there; the engine's own default is noexec
    return {"/tmp": _tmpfs(needs.tmp_gb), "/tmp/home": _tmpfs(_HOME_GIB), **shut}


def _tmpfs(gib: float) -> str:
    return f"rw,exec,nosuid,nodev,mode=1777,size={int(gib * _GIB)}"


def _mounts(job: Job, secrets: Path | None) -> list[Config]:
    """`Mounts`, not `Binds`: a source that is missing is an error, never a new empty folder that root owns."""
    given = {"work/job.json": (job.folder / "work" / "job.json", False)}
    given |= {mount.target: (mount.source, mount.writable) for mount in job.mounts}
    given |= {SECRETS: (secrets, False)} if secrets else {}
    return [
        {"Type": "bind", "Source": str(source.resolve()), "Target": f"{ROOT}/{target}", "ReadOnly": not writable}
        for target, (source, writable) in given.items()
    ]


def _device_requests(gpus: Sequence[str], facts: EngineFacts) -> list[Config]:
    if not gpus:
        return []
    if facts.kind == "podman":
        return [{"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={gpu}" for gpu in gpus], "Capabilities": [["gpu"]]}]
    return [{"DeviceIDs": list(gpus), "Capabilities": [["gpu"]]}]
