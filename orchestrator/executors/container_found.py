"""What an engine still holds of a job: containers of an orchestrator that died, or lost its engine for a while."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.claims.process import Life, Process, this_process
from orchestrator.executors.container_config import LABEL, OWNER
from orchestrator.executors.container_engine import Engine, NotFound, labelled

_NOTHING = ("created", "configured", "initialized", "removing", "dead")  # never started, or as good as gone
_ENDED = ("exited", "stopped")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A container. `owner`: the process that made it; `state` as the engine gives it."""

    id: str
    owner: Process | None
    state: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        return self.state["Status"] in _ENDED

    @property
    def running(self) -> bool:
        return not self.ended and self.state["Status"] not in _NOTHING

    @property
    def held(self) -> bool:
        """Another orchestrator is at it right now."""
        return self.owner is not None and self.owner.life is Life.ALIVE and self.owner != this_process()

    @property
    def holder(self) -> str:
        return f"process {self.owner.pid} of {self.owner.host}" if self.owner else "nobody"


def owner_of(labels: Mapping[str, str]) -> Process | None:
    """The process whose labels a container carries; None where they are not whole."""
    try:
        host, boot, pid, start = (labels[f"{LABEL}.{name}"] for name in OWNER)
        return Process(host=host, boot=boot, pid=int(pid), start=start)
    except (KeyError, ValueError):
        return None


def find(engine: Engine, **values: str) -> list[Found]:
    """All containers that carry these labels (`project`, `run`, `job`), those at work first."""
    found = []
    for container in labelled(engine, **values):
        try:
            inspected = engine.api.inspect_container(container)
        except NotFound:
            continue
        labels = inspected["Config"].get("Labels") or {}
        found.append(Found(id=container, owner=owner_of(labels), state=inspected["State"]))
    return sorted(found, key=lambda one: not one.running)


def age_seconds(engine: Engine, state: Mapping[str, Any]) -> float:
    """How long a container has run, by the engine's own clock; 0 where that was turned back, or is not to be read."""
    try:
        now, started = (_moment(str(text)) for text in (engine.api.info()["SystemTime"], state["StartedAt"]))
        return max(0.0, (now - started).total_seconds())
    except (KeyError, ValueError, TypeError):
        return 0.0


def _moment(text: str) -> datetime:
    """RFC 3339 with nanoseconds, which Python 3.10 does not read."""
    return datetime.fromisoformat(
        re.sub(r"\.(\d{1,6})\d*", lambda m: "." + m[1].ljust(6, "0"), text).replace("Z", "+00:00")
    )
