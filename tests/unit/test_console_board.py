"""Progress: what jobs write becomes a live board, or plain lines where nobody watches."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.executors.protocol import Status
from orchestrator.terminal.board import Board
from orchestrator.terminal.progress import JobProgress, Tail
from tests.unit.made_records import record, unscored
from tests.unit.test_console import WIDTHS, Screen, show


def event(phase: str, stage: str | None = None, second: float = 0, **more: object) -> dict[str, object]:
    time = datetime(2026, 11, 21, 2, tzinfo=timezone.utc) + timedelta(seconds=second)
    return {"seq": 0, "time": time.isoformat(timespec="milliseconds"), "phase": phase, "stage": stage, **more}


def shown(job: JobProgress) -> tuple[str, str, float | None]:
    return job.text, f"cell {job.cell}/{job.cells}", job.eta_seconds


def test_progress_follows_a_job_from_load_to_score() -> None:
    job = JobProgress(benchmarks={"A": "A", "B_-1": "B/1"}, generations=20)
    assert shown(job) == ("starting", "cell 0/2", None)
    for phase in ("import", "load", "loaded"):
        job.see(event(phase))
    assert shown(job) == ("loaded", "cell 0/2", None)
    for done in range(6):
        job.see(event("infer", "A/infer", second=10 + 2 * done, done=done, total=10))
    assert shown(job) == ("A 5/10", "cell 1/2", 30)  # five answers in ten seconds, fifteen left
    job.see(event("infer", "B_-1/infer", second=30, done=0, total=10))
    assert shown(job) == ("B/1 0/10", "cell 2/2", 60)
    job.see(event("free"))
    job.see(event("evaluate", "A/evaluate", total=10))
    assert shown(job) == ("scoring A", "cell 1/2", None)


def test_answers_of_an_earlier_run_are_no_pace() -> None:
    job = JobProgress(benchmarks={"A": "A"}, generations=50)
    for done in (40, 41, 42):
        job.see(event("infer", "A/infer", second=done, done=done, total=50))
    assert job.eta_seconds == 8


def test_a_clock_that_goes_back_gives_no_estimate() -> None:
    job = JobProgress(benchmarks={"A": "A"}, generations=50)
    job.see(event("infer", "A/infer", second=100, done=0, total=50))
    job.see(event("infer", "A/infer", second=50, done=1, total=50))
    assert job.eta_seconds is None


@pytest.mark.parametrize("junk", [{}, {"phase": 3}, {"phase": "infer", "stage": 5, "done": "x", "time": "never"}])
def test_odd_events_harm_nothing(junk: dict[str, object]) -> None:
    job = JobProgress(benchmarks={"A": "A"}, generations=5)
    job.see(junk)
    assert job.eta_seconds is None


def test_the_tail_gives_whole_new_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert Tail(path).read() == []
    path.write_text('{"phase": "old"}\n')
    tail = Tail(path)
    assert tail.read() == []
    with path.open("a") as file:
        file.write('{"phase": "a"}\nnot json\n[1]\n{"pha')
        file.flush()
        assert tail.read() == [{"phase": "a"}]
        file.write('se": "b"}\n')
    assert tail.read() == [{"phase": "b"}]


CLOCK = datetime(2026, 11, 21, 2, 0, 5, tzinfo=timezone.utc)


def write_events(out: Path, *events: dict[str, object]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in events)


def start(board: Board, out: Path, model: str, benchmark: str, *, slot: str, generations: int) -> None:
    board.started(
        "k", slot=slot, model=model, environment="tf-4.37", out=out, benchmarks=[benchmark], generations=generations
    )


def test_without_a_terminal_the_board_is_plain_lines(tmp_path: Path) -> None:
    console, screen = show()
    told: list[str] = []
    board = Board(console, cells=2, log=told.append, clock=lambda: CLOCK, interval=3600)
    with board:
        start(board, tmp_path, "llava", "A", slot="gpu0", generations=9)
        write_events(tmp_path, event("loaded", message="1.5 s"), event("stage_done", "A/infer", message="ok"))
        board.tick()
        board.cell(record())
        board.cell(unscored(Status.FAILED, "it broke", where="logs/x.log:3"))
        board.ended("k")
    lines = [
        "start   gpu0  llava  tf-4.37: 1 cell, 9 generations",
        "loaded  llava  tf-4.37    1.5 s",
        "done    llava  tf-4.37  A/infer  ok",
        "ok      llava × POPE  tf-4.37  accuracy 80.0 (n=10)",
        "FAILED  llava × POPE  tf-4.37  it broke  logs/x.log:3",
    ]
    assert told == lines
    assert screen.lines() == [f"2026-11-21T02:00:05+00:00 {line}" for line in lines]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_board_keeps_its_numbers_at_any_width(tmp_path: Path, width: int) -> None:
    console, screen = show(width)
    board = Board(console, cells=168, clock=lambda: CLOCK)
    name = "InternVL-Chat-V1-5-with-a-name-that-is-much-too-long-for-a-terminal"
    start(board, tmp_path, name, "ChartQA", slot="gpu1,2", generations=30)
    write_events(tmp_path, *(event("infer", "ChartQA/infer", second=n, done=n, total=10) for n in range(8)))
    board.tick()
    board.cell(record())
    screen.truncate(0)
    screen.seek(0)
    console.print(board.render())
    first, foot = screen.lines()
    assert len(first) <= width
    assert first.startswith("gpu1,2  InternVL-C")
    assert first.endswith("tf-4.37  ChartQA 7/10  cell 1/1  eta 23s")
    assert foot == "1/168 cells · 0s · ✓ 1 ok"


def test_on_a_terminal_good_news_stay_on_the_board_and_bad_news_are_printed(tmp_path: Path) -> None:
    screen = Screen()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    told: list[str] = []
    with Board(console, cells=2, log=told.append, clock=lambda: CLOCK, interval=3600) as board:
        board.cell(record())
        board.cell(unscored(Status.OOM, "out of memory", where="logs/x.log:3"))
        board.tick()
    assert len(told) == 2
    assert "accuracy 80.0" not in screen.text()
    assert "OOM     llava × POPE  tf-4.37  out of memory  logs/x.log:3" in screen.text()
    assert "2/2 cells · 0s · ✓ 1 ok · ▲ 1 oom" in screen.text()
    assert screen.text().count("\x1b[?25l") == screen.text().count("\x1b[?25h") == 1  # the cursor is given back
