"""What is told of containers that another orchestrator left, from what engines answer."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.claims.process import Process, boot_id, this_process
from orchestrator.executors.container_config import EngineFacts
from orchestrator.executors.container_engine import Engine
from orchestrator.executors.container_found import Found, age_seconds
from orchestrator.executors.container_watch import ended_of


def engine(now: object) -> Engine:
    api = SimpleNamespace(info=lambda: {} if now is None else {"SystemTime": now})
    return Engine(api=api, facts=EngineFacts(kind="docker"), address="")


@pytest.mark.parametrize(
    ("now", "started", "seconds"),
    [
        ("2026-11-21T04:33:26.495528197Z", "2026-11-21T04:33:20.495528Z", 6.0),
        ("2026-11-21T05:33:26+01:00", "2026-11-21T04:33:20.5Z", 5.5),
        ("2026-11-21T04:33:26Z", "2026-11-21T05:33:20Z", 0.0),  # its clock was turned back
        (None, "2026-11-21T05:33:20Z", 0.0),
        ("yesterday", "2026-11-21T05:33:20Z", 0.0),
    ],
)
def test_how_long_one_has_run(now: object, started: str, seconds: float) -> None:
    assert age_seconds(engine(now), {"StartedAt": started}) == seconds


@pytest.mark.parametrize(
    ("status", "running", "ended"),
    [
        ("running", True, False),
        ("paused", True, False),
        ("exited", False, True),
        ("created", False, False),
        ("configured", False, False),  # podman's word for it
        ("removing", False, False),
    ],
)
def test_states_of_both_engines(status: str, running: bool, ended: bool) -> None:
    found = Found(id="1", owner=None, state={"Status": status})
    assert (found.running, found.ended, found.held) == (running, ended, False)


def test_held_by_a_living_process_that_is_another() -> None:
    def held(owner: Process) -> bool:
        return Found(id="1", owner=owner, state={"Status": "running"}).held

    here = this_process()
    parent = Process(host=here.host, boot=here.boot, pid=1, start="")
    assert not held(here)
    assert not held(Process(host=socket.gethostname(), boot=boot_id(), pid=here.pid, start="1"))
    assert not held(Process(host="elsewhere", boot="other", pid=1, start="1"))
    assert not held(parent)  # its number alone proves nothing


@pytest.mark.parametrize(
    ("kind", "state", "lost", "oom"),
    [
        ("docker", {"ExitCode": 255}, True, False),
        ("docker", {"ExitCode": 137, "OOMKilled": True}, False, True),
        ("podman", {"ExitCode": 255, "OOMKilled": False}, False, False),
    ],
)
def test_what_an_engine_tells_of_an_end(kind: str, state: dict[str, Any], lost: bool, oom: bool) -> None:
    ended = ended_of(state, kind)
    assert (ended.lost, ended.oom_killed, ended.oom_untold) == (lost, oom, kind == "podman")
