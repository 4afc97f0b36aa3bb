"""Venvs: how they are made, what is refused, and that nothing stays behind."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import EnvironmentUnavailable
from orchestrator.executors.private import memory
from orchestrator.executors.protocol import Mount, Status
from orchestrator.executors.venv import VenvExecutor
from orchestrator.executors.venv_install import Recipe, VenvStore
from orchestrator.executors.venv_tree import linked
from tests.integration.executors.conftest import CHECK, Bench
from tests.integration.executors.other_orchestrator import kill_when, orchestrating_venvs

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def store(folder: Path, uv: str, said: list[str], **changes: object) -> VenvStore:
    lock = folder / "tf-4.42.txt"
    lock.write_text("# nothing\n", encoding="utf-8")
    recipe = Recipe(lock=lock, install=lambda uv, python: [], check=("-c", CHECK), python=HERE)
    recipe = replace(recipe, **changes)  # type: ignore[arg-type]
    return VenvStore(folder=folder / "venvs", recipe=lambda e: recipe, uv=uv, machine="x86_64", say=said.append)


def test_a_venv_is_made_once_for_each_lock(uv: str, tmp_path: Path) -> None:
    said: list[str] = []
    first = store(tmp_path, uv, said)
    made = first.ready("tf-4.42")
    assert first.ready("tf-4.42") == made
    assert made.environment_digest == "sha256:empty"
    assert made.python.exists()
    (tmp_path / "tf-4.42.txt").write_text("# changed\n", encoding="utf-8")
    assert first.ready("tf-4.42").python != made.python
    assert len(said) == 2
    assert len(list((tmp_path / "venvs").iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"python": "3.99"}, "tf-4.42: no Python 3.99 here, and uv gets none"),
        (
            {"install": lambda uv, python: [["/bin/sh", "-c", "echo no such index >&2; exit 2"]]},
            "tf-4.42: tf-4.42.txt cannot be installed (no such index)",
        ),
        (
            {"check": ("-c", "raise SystemExit('six is installed and not in the lock')")},
            "tf-4.42: the venv made is not what tf-4.42.txt says (six is installed and not in the lock): "
            "make locks ENV=tf-4.42",
        ),
    ],
)
def test_a_venv_that_cannot_be_made_leaves_nothing(
    uv: str, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(EnvironmentUnavailable) as caught:
        store(tmp_path, uv, [], **changes).ready("tf-4.42")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "venvs").iterdir()) == []


def test_no_lock_and_no_uv_are_one_line_each(uv: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnavailable, match=r"no lock gone\.txt .*make locks ENV=tf-4.42"):
        store(tmp_path, uv, [], lock=tmp_path / "gone.txt").ready("tf-4.42")
    with pytest.raises(EnvironmentUnavailable, match="/no/uv"):
        store(tmp_path, "/no/uv", []).ready("tf-4.42")


def test_another_architecture_is_refused(uv: str, tmp_path: Path) -> None:
    made = VenvStore(folder=tmp_path, recipe=lambda e: pytest.fail("not asked for"), uv=uv, machine="aarch64")
    with pytest.raises(EnvironmentUnavailable, match="the locks are for x86_64 and this machine is aarch64"):
        made.ready("tf-4.42")


@pytest.mark.parametrize("risk", ["trust_remote_code", "pickled_weights"])
def test_code_of_a_model_runs_only_when_asked_for(venv_bench: Bench, empty_store: VenvStore, risk: str) -> None:
    job = replace(venv_bench.job("fail", "0"), **{risk: True})  # type: ignore[arg-type]
    outcome = venv_bench.run(job)
    assert outcome.status is Status.SKIPPED
    assert "--unsandboxed" in outcome.reason
    executor = VenvExecutor(store=empty_store, runner=venv_bench.folder, command=(), unsandboxed=True)
    assert replace(venv_bench, executor=executor).run(job).status is Status.OK


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_its_scratch_folder_is_gone(venv_bench: Bench, scratch: Path) -> None:
    assert venv_bench.run(venv_bench.job("look")).status is Status.OK
    assert list(scratch.iterdir()) == []


def test_what_a_killed_orchestrator_left_is_no_hindrance(
    venv_bench: Bench, uv: str, store_folder: Path, scratch: Path
) -> None:
    """Its job ended with it; its links and its scratch folder are still there."""
    before = set(memory().glob("lockstep-secrets-venv-*"))
    secret = {"TOKEN": "planted-hunter2"}
    with orchestrating_venvs(venv_bench, uv, store_folder, "counted", secrets=secret) as process:
        kill_when(process, "ready")
    job = venv_bench.job("counted", secrets=secret)
    (first,) = (job.out / "starts").read_text(encoding="utf-8").split()
    for _ in range(1200):
        if not Path(f"/proc/{first}").exists():
            break
        time.sleep(0.05)
    assert (job.folder / "work" / "out").is_symlink()
    assert (job.folder / "work" / "secrets").is_symlink()
    assert len(list(scratch.iterdir())) == 1
    (secrets,) = set(memory().glob("lockstep-secrets-venv-*")) - before
    assert not venv_bench.executor.alive(job.run_id, job.key)
    venv_bench.go_on(job)
    assert venv_bench.run(job).status is Status.OK
    assert len((job.out / "starts").read_text(encoding="utf-8").split()) == 2
    assert sorted(p.name for p in job.folder.rglob("*")) == ["job.json", "work"]
    assert list(scratch.iterdir()) == []
    assert not secrets.exists()


def test_links_of_a_killed_run_are_replaced(venv_bench: Bench) -> None:
    job = venv_bench.job("look")
    (job.folder / "work" / "out").symlink_to("/nowhere")
    assert venv_bench.run(job).status is Status.OK
    assert (job.out / "look.json").exists()


def test_a_mount_inside_another_one(venv_bench: Bench, tmp_path: Path) -> None:
    """The outer folder itself is not touched."""
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "weights").write_text("w", encoding="utf-8")
    job = venv_bench.job("-c", "import os; print(open('cache/hub/weights').read(), sorted(os.listdir('cache')))")
    outer = next(m.source for m in job.mounts if m.target == "cache")
    (outer / "beside").write_text("b", encoding="utf-8")
    job = replace(job, arguments=job.arguments[1:], mounts=(*job.mounts, Mount(source=inner, target="cache/hub")))
    assert venv_bench.run(job).status is Status.OK
    assert venv_bench.lines == ["w ['beside', 'hub']"]
    assert sorted(p.name for p in outer.iterdir()) == ["beside", "hub"]
    assert list((outer / "hub").iterdir()) == []
    assert sorted(p.name for p in job.folder.iterdir()) == ["work"]


@pytest.mark.parametrize("mounted", [0, 1, 2])
def test_a_folder_of_links_that_a_killed_run_left_is_made_anew(venv_bench: Bench, tmp_path: Path, mounted: int) -> None:
    """Whatever the next run mounts there; nothing is lost behind the links."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    for folder in (inner, outer / "hub"):
        folder.mkdir(parents=True)
    (outer / "hub" / "precious").write_text("p", encoding="utf-8")
    (inner / "weights").write_text("w", encoding="utf-8")
    plain = venv_bench.job("look")
    nested = (Mount(source=outer, target="cache"), Mount(source=inner, target="cache/hub"))
    with linked(replace(plain, mounts=nested)):
        left = shutil.copytree(plain.folder, tmp_path / "left", symlinks=True)
    shutil.copytree(left, plain.folder, symlinks=True, dirs_exist_ok=True)
    with linked(replace(plain, mounts=nested[:mounted])):
        found = [path.name for path in (plain.folder / "cache" / "hub").iterdir()]
    assert found == (["weights"] if mounted != 1 else ["precious"])  # of no mount nothing is touched
    assert (outer / "hub" / "precious").exists()
    assert (inner / "weights").exists()
    assert (plain.folder / "cache").exists() is (mounted == 0)
