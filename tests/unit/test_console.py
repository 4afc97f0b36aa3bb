"""The terminal: readable at 80 columns, deaf to what models write, plain where nobody watches."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.executors.protocol import Status
from orchestrator.layout import PROJECT
from orchestrator.records.samples import SampleView
from orchestrator.reports.table import score_table
from orchestrator.terminal import console as door
from orchestrator.terminal.board import Board
from orchestrator.terminal.style import make_console
from orchestrator.terminal.views import DoctorRow, PlanRow, PlanView, TableView, bytes_text, clock_text
from tests.unit.made_records import metric, record, unscored

HOSTILE = "\x1b[2J\x1b]0;title\x07[bold red]x[/] :smile: \u202egnirts\r\nerror: fake"
WIDTHS = (80, 100, 120)
SMALL = "limit 10 cannot hold every category (needs 14)"


class Screen(io.StringIO):
    """A file that keeps what is printed."""

    def text(self) -> str:
        return self.getvalue()

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.getvalue().splitlines()]


def show(width: int = 100) -> tuple[Console, Screen]:
    screen = Screen()
    return make_console(screen, width=width), screen


def test_the_final_table_as_a_person_reads_it() -> None:
    records = [
        record(),
        record(benchmark="TextVQA", metrics=[metric(0.5, id="vqa", unit="share", max=1)]),
        unscored(Status.SKIPPED, SMALL, "llava", "MME"),
        unscored(Status.SKIPPED, SMALL, "chance", "MME", kind="random-choice"),
        record("chance", kind="random-choice", n_unparsed=2, metrics=[metric(50.0, ci_low=23.7, ci_high=76.3)]),
        unscored(Status.OOM, "no room", "chance", "TextVQA", kind="random-choice", where="logs/c.log:7"),
    ]
    console, screen = show(80)
    door.print_scores(
        score_table(records),
        files={"report": "outputs/r/EVALUATION_REPORT.md", "table": "outputs/r/results.csv"},
        notes=["a note"],
        go_on="python run_matrix.py run",
        console=console,
    )
    assert screen.lines() == [
        "                  MME         POPE      TextVQA",
        "                       accuracy, %     vqa, 0–1",
        "───────────────────────────────────────────────",
        "llava             – ¹         80.0        0.500",
        "                        49–94 n=10         n=10",
        "◦ chance          – ¹      ?2 50.0      ▲ oom ²",
        "                        24–76 n=10",
        "",
        "score · 95 % interval (proportions) · n scored units; scales differ by column",
        "?3 before a score: the scorer could not read the answers of three units",
        "◦ baseline: a score says something where it is clearly above",
        "¹ skipped (2 cells): limit 10 cannot hold every category (needs 14)",
        "² oom chance@tf-4.37 × TextVQA: no room  logs/c.log:7",
        "a note",
        "6 cells: 3 ok · 1 oom · 2 skipped · go on: python run_matrix.py run",
        "report  outputs/r/EVALUATION_REPORT.md",
        "table   outputs/r/results.csv",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_twenty_benchmarks_fit_any_width(width: int) -> None:
    names = [f"Benchmark_{number:02d}" for number in range(20)]
    records = [record(f"a-model-with-a-long-name-{m}", name) for m in range(7) for name in names]
    console, screen = show(width)
    door.print_scores(score_table(records), files={}, console=console)
    assert max(len(line) for line in screen.lines()) <= width
    assert all(name in screen.text() for name in names)
    assert screen.text().count("80.0") == 140
    assert "…" not in screen.text()


def test_a_model_in_two_environments_has_two_rows() -> None:
    console, screen = show()
    door.print_scores(score_table([record(), record(environment="tf-4.42")]), files={}, console=console)
    rows = [line.split()[0] for line in screen.lines() if line.startswith("llava")]
    assert rows == ["llava@tf-4.37", "llava@tf-4.42"]


def test_a_table_without_a_number_shows_no_legend_of_numbers() -> None:
    console, screen = show()
    door.print_scores(score_table([unscored(Status.SKIPPED, "no GPU")]), files={}, console=console)
    assert "n scored units" not in screen.text()
    assert "¹ skipped: no GPU" in screen.text()


def test_hostile_text_changes_nothing_on_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Screen()
    console = Console(file=screen, force_terminal=True, color_system="standard", width=100, markup=False, emoji=False)
    row = PlanRow(model=HOSTILE, environment="e", benchmark=HOSTILE, status="skipped", why=HOSTILE)
    sample = SampleView(
        id=HOSTILE, group="g", question=HOSTILE, reference=HOSTILE, answer=HOSTILE, parsed=HOSTILE, unparsed=False,
        score=0.0, error=None, place="p:1",
    )  # fmt: skip
    door.print_plan(PlanView(title="plan", rows=(row,), notes=(HOSTILE,)), console)
    failed = unscored(Status.FAILED, HOSTILE, HOSTILE, HOSTILE, where="x:1")
    door.print_scores(score_table([failed]), files={}, console=console)
    door.print_table(TableView(title=HOSTILE, columns=(HOSTILE,), rows=((HOSTILE,),)), console)
    door.print_doctor([DoctorRow(what=HOSTILE, state="warn", found=HOSTILE, remedy=HOSTILE)], console)
    door.print_samples([sample], [HOSTILE], total=1, console=console)
    board = Board(console, cells=1)
    board.started("k", slot="cpu", model=HOSTILE, environment="e", out=tmp_path, benchmarks=["b"])
    console.print(board.render())
    own_styles = re.sub(r"\x1b\[[0-9;]*m", "", screen.text())
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", own_styles) is None
    assert "[bold red]" in own_styles
    assert ":smile:" in own_styles
    assert not any(line.startswith("error: fake") for line in own_styles.splitlines())


@pytest.mark.parametrize("coloured", [True, False])
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, coloured: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not coloured:
        monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    console = make_console(screen, width=80)
    door.print_doctor([DoctorRow(what="disk", state="missing", found="full")], console)
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-7]", screen.text())) is coloured
    assert "✗ missing" in re.sub(r"\x1b\[[0-9;]*m", "", screen.text())


def test_columns_sets_the_width_and_a_file_has_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console(Screen()).width == 100
    monkeypatch.setenv("COLUMNS", "132")
    assert make_console(Screen()).width == 132


def test_an_ascii_terminal_gets_ascii_and_ends_no_run() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    console = make_console(file, width=80)
    cells = [record(), unscored(Status.SKIPPED, "kein Platz für 한국어", "llava", "MME")]
    door.print_scores(score_table(cells), files={}, console=console)
    text = raw.getvalue().decode("ascii")
    assert "49-94 n=10" in text
    assert "- (1)" in text
    assert "f\\xfcr" in text


def plan() -> PlanView:
    big = partial(PlanRow, model="llava", environment="tf-4.37", slot="1 GPU, 25 GB")
    rows = [
        big(benchmark="MMBench", status="run", why="new", units=10, generations=40, bytes=14_000_000_000),
        big(benchmark="POPE", status="reused", why="reused from 20261120-020000", units=1, generations=0),
        big(benchmark="TextVQA", status="run", why="new"),
        big(benchmark="MME", status="skipped", why="limit 10 cannot hold every category (needs 14)"),
    ]
    rows += [
        PlanRow(model="monkey", environment="tf-4.33", benchmark=name, status="skipped", why="needs 22 GB; no GPU here")
        for name in ("MMBench", "POPE", "TextVQA", "MME")
    ]
    return PlanView(
        title="plan", rows=tuple(rows), fetch_bytes=14_000_000_000, free_bytes=412_000_000_000, seconds=9660,
        notes=("not pinned: llava (main)",),
    )  # fmt: skip


def test_the_plan_says_what_runs_and_why_not() -> None:
    console, screen = show(100)
    door.print_plan(plan(), console)
    assert screen.lines() == [
        "llava  tf-4.37  1 GPU, 25 GB",
        "  ▶ run      MMBench    10 units     40 generations  new · fetch 14 GB",
        "  ▶ run      TextVQA           ?                  ?  new",
        "  = reused   POPE: reused from 20261120-020000",
        "  – skipped  MME: limit 10 cannot hold every category (needs 14)",
        "monkey  tf-4.33",
        "  – skipped  all 4 benchmarks: needs 22 GB; no GPU here",
        "not pinned: llava (main)",
        "plan  8 cells: 2 run, 1 reused, 5 skipped · 40 generations and more, once the data is opened · fetch 14 GB, "
        "free 412 GB · ETA 02:41",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_plan_fits_any_width(width: int) -> None:
    console, screen = show(width)
    door.print_plan(plan(), console)
    assert max(len(line) for line in screen.lines()[:-1]) <= width


def test_sizes_and_times_are_short() -> None:
    assert [bytes_text(n) for n in (None, 0, 999, 1500, 14_200_000_000, 2_500_000_000_000)] == [
        *("?", "0 B", "999 B", "1.5 kB", "14 GB", "2.5 TB"),
    ]
    assert [clock_text(s) for s in (0, 59, 60, 3599, 9660)] == ["0s", "59s", "1m", "01:00", "02:41"]


def test_doctor_says_what_to_type_only_where_it_is_needed() -> None:
    console, screen = show(80)
    door.print_doctor(
        [
            DoctorRow(what="engine", state="ok", found="docker 27", remedy="not shown"),
            DoctorRow(what="BuildKit", state="missing", found="no buildx", remedy="DOCKER=/usr/bin/docker make images"),
        ],
        console,
    )
    assert screen.lines() == [
        "✓ ok       engine    docker 27",
        "✗ missing  BuildKit  no buildx",
        "                     DOCKER=/usr/bin/docker make images",
    ]


def test_samples_are_shown_whole_or_say_where_they_are() -> None:
    console, screen = show(80)
    plain = {"group": "g1", "question": "What?\nA. cat", "reference": "cat", "parsed": None, "place": "p.jsonl:3"}
    samples = [
        SampleView(**plain, id="g1", answer="k" * 5000, unparsed=True, score=0.0, error=None),  # type: ignore[arg-type]
        SampleView(**plain, id="s2", answer=None, unparsed=False, score=None, error="OOM in infer"),  # type: ignore[arg-type]
    ]
    door.print_samples(samples, ["a note"], total=30, console=console)
    text = screen.text()
    assert screen.lines()[:3] == ["sample g1 · score 0", "  question   What?", "             A. cat"]
    assert "cut: 5,000 characters in all; the whole text is in p.jsonl:3" in re.sub(r"\s+", " ", text)
    assert "(unreadable for the scorer)" in text
    assert "sample s2 · unit g1 · not scored" in text
    assert "  error      OOM in infer" in text
    assert screen.lines()[-2:] == ["a note", "2 of 30 samples"]


def test_json_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": ["한국어", None, 0.5]}
    door.print_json(value)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert said.isascii()


def test_the_door_imports_no_rich() -> None:
    code = "import sys, orchestrator.terminal.console; print('rich' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
