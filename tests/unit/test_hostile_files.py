"""What a job can put in the place of its files while it runs, and what the host then shows: nothing, and it does not wait."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator.terminal.progress import JobProgress, Tail


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "out" / "events.jsonl"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    private = path.parent.parent / "private.jsonl"
    private.write_text('{"phase": "private"}\n', encoding="utf-8")
    path.symlink_to(private)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("put", [_pipe, _link, _folder])
def test_progress_is_read_from_a_plain_file_alone(events: Path, put: object) -> None:
    """A pipe nobody writes to would hold the terminal for ever."""
    assert callable(put)
    events.parent.mkdir()
    tail = Tail(events)
    put(events)
    assert tail.read() == []


def test_progress_of_a_runner_that_writes_nonsense(events: Path) -> None:
    events.parent.mkdir()
    tail = Tail(events)
    nonsense = ["[1]", "null", "{", "1e999", "\xff\x00", "[" * 100_000]
    hostile = {
        "phase": ["x"],
        "stage": {"a": 1},
        "done": -1,
        "total": 10**400,
        "time": "soon",
        "peak_memory_gb": "much",
    }
    infinite = '{"phase": "infer", "stage": "B/infer", "done": 1, "time": 1e999, "peak_memory_gb": NaN}'
    events.write_text("\n".join([*nonsense, json.dumps(hostile), infinite, ""]), encoding="utf-8")
    found = tail.read()
    assert [event["phase"] for event in found] == [["x"], "infer"]
    progress = JobProgress(benchmarks={"B": "B"}, generations=4)
    for event in found:
        progress.see(event)
    assert progress.text == "B 1/0" or progress.text.startswith("B 1/")
    assert progress.eta_seconds is None
