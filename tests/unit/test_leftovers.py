"""What `clean` keeps and what it offers, judged from labels, live.json and locks; and `cancel` where it must not act."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.claims.claims import Claim, claim, identity_lock, make_mark
from orchestrator.claims.files import open_lock, try_flock, write_mark
from orchestrator.claims.marks import to_bytes
from orchestrator.claims.process import Process, this_process
from orchestrator.errors import Exit, Unavailable
from orchestrator.executors import project_name
from orchestrator.executors.container_config import EngineFacts
from orchestrator.executors.container_engine import Engine
from orchestrator.layout import PROJECT, RunLayout
from orchestrator.runs import leftovers
from orchestrator.runs.leftovers import find_leftovers, remove_leftover
from orchestrator.runs.live import Live
from orchestrator.verbs.watching import cancel

MINE = project_name(PROJECT)
DEAD = replace(this_process(), start="1")
FAR = replace(this_process(), host="node9", boot="other")


class Api:
    """As much of an engine as is asked: containers of any project, found by their labels."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    def add(self, name: str, *, owner: Process | None, status: str = "running", project: str = MINE, run: Path) -> None:
        labels = {"project": project, "run": run.name, "job": "m@tf"}
        labels |= {key: str(value) for key, value in asdict(owner).items()} if owner else {}
        self.held[name] = {
            "Name": f"/{name}",
            "State": {"Running": status == "running", "Status": status},
            "Config": {"Labels": {f"org.lockstep.{key}": value for key, value in labels.items()}},
            "Mounts": [{"Destination": "/lockstep/work/job.json", "Source": f"{run}/jobs/m@tf/work/job.json"}],
        }

    def containers(self, all: bool, filters: dict[str, list[str]]) -> list[dict[str, str]]:
        wanted = dict(label.split("=", 1) for label in filters["label"])
        found = [name for name, one in self.held.items() if wanted.items() <= one["Config"]["Labels"].items()]
        return [{"Id": name} for name in found]

    def inspect_container(self, name: str) -> dict[str, Any]:
        return self.held[name]

    def remove_container(self, name: str, v: bool, force: bool) -> None:
        del self.held[name]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(leftovers, "gpu_folder", lambda: tmp_path / "gpus")
    return Api()


def found(api: Api, outputs: Path) -> dict[str, tuple[str, str]]:
    engine = Engine(api=api, facts=EngineFacts(kind="docker"), address="")
    return {one.name: (one.state, one.why) for one in find_leftovers(engine, outputs)}


def test_what_somebody_is_at_work_on_is_kept_and_said(api: Api, tmp_path: Path) -> None:
    run = tmp_path / "r1"
    api.add("ours", owner=this_process(), run=run)
    api.add("created", owner=this_process(), status="created", run=run)
    api.add("far", owner=FAR, run=run)
    seen = found(api, tmp_path)
    assert {state for state, _ in seen.values()} == {"kept"}
    assert seen["ours"][1].startswith("running; run r1 is at work on it (pid ")
    assert "on node9, which cannot be looked at from here" in seen["far"][1]


def test_what_a_dead_one_left_is_offered(api: Api, tmp_path: Path) -> None:
    api.add("works", owner=DEAD, run=tmp_path / "r1")
    api.add("exited", owner=DEAD, status="exited", run=tmp_path / "r1")
    seen = found(api, tmp_path)
    assert seen["works"] == ("left", "running; run r1, which it worked for, is not at work")
    assert seen["exited"][0] == "left"


def test_a_run_that_was_resumed_keeps_what_its_dead_one_left(api: Api, tmp_path: Path) -> None:
    Live(RunLayout(root=tmp_path / "r1")).begin()
    api.add("works", owner=DEAD, run=tmp_path / "r1")
    assert found(api, tmp_path)["works"][0] == "kept"


def leave_lock(outputs: Path, name: str, *, run_id: str, project: str = MINE, process: Process = DEAD) -> Path:
    path = identity_lock(outputs, name)
    mark = replace(make_mark(run_id=run_id, job_key="m@tf", folder=outputs, project=project), process=process)
    descriptor = open_lock(path)
    write_mark(descriptor, to_bytes(mark))
    os.close(descriptor)
    return path


def test_what_another_run_adopts_is_kept(api: Api, tmp_path: Path) -> None:
    """The adopter locks what the dead one signed."""
    path = leave_lock(tmp_path, "ab", run_id="r1")
    api.add("works", owner=DEAD, run=tmp_path / "r1")
    assert found(api, tmp_path)["works"][0] == "left"
    descriptor = open_lock(path)
    assert try_flock(descriptor)
    assert found(api, tmp_path) == {"works": ("kept", "running; another run sees it to its end")}
    os.close(descriptor)


def test_another_projects_are_neither_listed_nor_touched(api: Api, tmp_path: Path) -> None:
    api.add("theirs", owner=DEAD, project="other-0123", run=tmp_path / "r1")
    leave_lock(tmp_path, "cd", run_id="r1", project="other-0123")
    assert found(api, tmp_path) == {}


def test_what_says_nothing_of_its_owner_is_only_removed_on_demand(api: Api, tmp_path: Path) -> None:
    api.add("old", owner=None, run=tmp_path / "r1")
    api.add("old-exited", owner=None, status="exited", run=tmp_path / "r1")
    seen = found(api, tmp_path)
    assert (seen["old"][0], seen["old-exited"][0]) == ("unsure", "left")


def test_locks_that_a_dead_one_left_are_emptied_and_others_stay(api: Api, tmp_path: Path) -> None:
    left = leave_lock(tmp_path, "aa", run_id="r1")
    far = leave_lock(tmp_path, "bb", run_id="r2", process=FAR)
    held = claim([identity_lock(tmp_path, "cc")], mark=make_mark(run_id="r3", folder=tmp_path, project=MINE))
    assert isinstance(held, Claim)
    engine = Engine(api=api, facts=EngineFacts(kind="docker"), address="")
    listed = find_leftovers(engine, tmp_path)
    assert {one.name: one.state for one in listed} == {"lock aa": "left", "lock bb": "kept"}
    assert all(remove_leftover(engine, one) for one in listed if one.state == "left")
    assert left.read_bytes() == b""
    assert far.read_bytes() != b""
    held.release()


def test_the_lock_of_a_container_that_is_kept_is_kept(api: Api, tmp_path: Path) -> None:
    Live(RunLayout(root=tmp_path / "r1")).begin()
    api.add("works", owner=DEAD, run=tmp_path / "r1")
    leave_lock(tmp_path, "aa", run_id="r1")
    assert found(api, tmp_path)["lock aa"][0] == "kept"


def arguments(run: RunLayout) -> argparse.Namespace:
    run.root.mkdir(exist_ok=True)
    run.run_json.write_text("{}")
    return argparse.Namespace(output_root=str(run.root.parent), run=run.root.name)


def of(run: RunLayout, process: Process, exit_code: int | None = None) -> None:
    live = Live(run)
    live.begin()
    if exit_code is not None:
        live.end(exit_code)
    content = json.loads(run.live.read_bytes())
    run.live.write_text(json.dumps({**content, "process": asdict(process)}))


def test_a_run_elsewhere_is_not_cancelled_from_here(tmp_path: Path) -> None:
    run = RunLayout(root=tmp_path / "20261121-0200")
    of(run, FAR)
    with pytest.raises(Unavailable, match=r"at work on node9: there, type python run_matrix\.py cancel 20261121-0200"):
        cancel(arguments(run))


def test_a_run_that_has_ended_is_not_cancelled_even_where_its_number_lives_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunLayout(root=tmp_path / "20261121-0200")
    of(run, this_process(), exit_code=1)
    assert cancel(arguments(run)) == Exit.OK
    assert "has ended already, exit code 1" in capsys.readouterr().out


def test_a_run_of_before_says_nothing_of_what_it_does(tmp_path: Path) -> None:
    run = RunLayout(root=tmp_path / "20261121-0200")
    with pytest.raises(Unavailable, match=r"no live\.json"):
        cancel(arguments(run))
