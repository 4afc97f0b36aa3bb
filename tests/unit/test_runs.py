"""Run folders: ids, unique starts, and folders that cannot take a run."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.errors import Unavailable, UsageError
from orchestrator.runs.folders import find_run, new_run

NOON = datetime(2026, 11, 21, 12, 0, 0)


def made(outputs: Path, at: datetime = NOON) -> str:
    run = new_run(outputs, at)
    run.run_json.write_text("{}")
    return run.root.name


def test_ids_are_times_with_a_suffix_where_needed(tmp_path: Path) -> None:
    assert [made(tmp_path) for _ in range(3)] == ["20261121-120000", "20261121-120000-2", "20261121-120000-3"]


def test_runs_of_one_second_have_ids_of_their_own_wherever_they_are_kept(tmp_path: Path) -> None:
    """The containers of two would be taken for each other's; cron starts many in one second."""
    ids = tmp_path / "ids"
    old = ids / "20261119-120000"
    ids.mkdir()
    old.touch()
    os.utime(old, (0, 0))
    made = [new_run(tmp_path / name, NOON, ids=ids).root for name in ("a", "b", "a")]
    assert [str(root.relative_to(tmp_path)) for root in made] == [
        "a/20261121-120000",
        "b/20261121-120000-2",
        "a/20261121-120000-3",
    ]
    assert not old.exists()
    (tmp_path / "file").touch()  # a cache that cannot be written keeps nobody from running
    assert new_run(tmp_path / "c", NOON, ids=tmp_path / "file" / "ids").root.name == "20261121-120000"


def test_any_unique_start_finds_a_run(tmp_path: Path) -> None:
    first, second = made(tmp_path), made(tmp_path, NOON.replace(day=22))
    assert find_run(tmp_path, "20261122").root.name == second
    assert find_run(tmp_path, first).root.name == first
    assert find_run(tmp_path, "latest").root.name == second
    with pytest.raises(UsageError, match="starts several runs"):
        find_run(tmp_path, "2026")
    with pytest.raises(UsageError, match="starts no run"):
        find_run(tmp_path, "1999")


def test_no_runs_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run_matrix\.py --models all"):
        find_run(tmp_path / "outputs", "latest")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "outputs"
    file.write_text("a file, not a folder")
    with pytest.raises(UsageError, match="--output-root"):
        new_run(file, NOON)


def test_a_nearly_full_disk_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=200_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Unavailable, match=r"0\.2 GB free"):
        new_run(tmp_path, NOON)
    assert list(tmp_path.iterdir()) == []
