"""A container's configuration as the docker command that starts the same one, for people to read and repeat."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_BASH = ("/bin/bash",)


def docker_argv(config: Mapping[str, Any], *, program: str = "docker", shell: bool = False) -> list[str]:
    """`docker run --rm …` for a body of `container_config.configure`; with `shell` a terminal instead of the runner."""
    host = config["HostConfig"]
    command: Sequence[str] = _BASH if shell else config["Entrypoint"]
    words = [program, "run", "--rm", *(["-it"] if shell else []), *_isolation(config, host)]
    for mount in host["Mounts"]:
        words += ["--mount", _mount(mount)]
    for target, options in host["Tmpfs"].items():
        words += ["--tmpfs", f"{target}:{options}"]
    for variable in config["Env"]:
        words += ["-e", variable]
    for request in host["DeviceRequests"]:
        words += ["--gpus", f'"device={",".join(request["DeviceIDs"])}"']
    words += ["--entrypoint", command[0], config["Image"], *command[1:]]
    return words if shell else [*words, *config["Cmd"]]


def _isolation(config: Mapping[str, Any], host: Mapping[str, Any]) -> list[str]:
    words = ["--init", "--user", config["User"], "--workdir", config["WorkingDir"], "--hostname", config["Hostname"]]
    words += ["--network", host["NetworkMode"], "--read-only", "--ipc", host["IpcMode"]]
    words += ["--pids-limit", str(host["PidsLimit"]), "--shm-size", str(host["ShmSize"])]
    for flag, values in (
        ("--add-host", host["ExtraHosts"]),
        ("--cap-drop", host["CapDrop"]),
        ("--security-opt", host["SecurityOpt"]),
    ):
        words += [word for value in values for word in (flag, value)]
    if host["UsernsMode"]:
        words += ["--userns", host["UsernsMode"]]
    if host["Memory"]:
        words += ["--memory", str(host["Memory"]), "--memory-swap", str(host["MemorySwap"])]
    return words


def _mount(mount: Mapping[str, Any]) -> str:
    """One `--mount` value: a line of CSV, so that commas and quotes in a path survive."""
    fields = ["type=bind", f"source={mount['Source']}", f"target={mount['Target']}"]
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([*fields, *(["readonly"] if mount["ReadOnly"] else [])])
    return text.getvalue()
