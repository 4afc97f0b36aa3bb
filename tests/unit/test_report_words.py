"""What stands beside a number: bounds, where its answers are from, what was tried, and that its proof is gone."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import openpyxl
import pytest

from orchestrator.executors.protocol import Status
from orchestrator.job import Conditions
from orchestrator.layout import RunLayout
from orchestrator.records.record import AnsweredUnder, Attempt, Record
from orchestrator.reports.report import build
from orchestrator.reports.rows import csv_cell, csv_text
from orchestrator.reports.table import score_table
from orchestrator.reports.words import attempts_text, bounds_text, conditions_text, notes
from orchestrator.terminal import console as door
from orchestrator.terminal.board import Board
from orchestrator.terminal.style import make_console
from tests.unit.made_records import RUN_ID, a_run, conditions, metric, record, unscored

OLD = "20261120-020000"


def answered(samples: int, run: str = RUN_ID, *gpus: str, **changes: object) -> AnsweredUnder:
    made = Conditions.model_validate(conditions(run_id=run, gpus=list(gpus), **changes))
    return AnsweredUnder(samples=samples, conditions=made)


def attempt(status: Status, reason: str = "", **changed: int) -> Attempt:
    return Attempt(started="2026-11-21T02:00:00+00:00", status=status, reason=reason, conditions={"cpus": 4, **changed})


MIXED = [answered(10, OLD, "NVIDIA A100"), answered(40, RUN_ID, "NVIDIA H100")]


def test_a_record_of_one_origin_says_nothing() -> None:
    assert notes(record()) == []
    assert notes(record(answered=[answered(10)])) == []
    assert conditions_text(record(answered=[answered(10, OLD)], reused=OLD)) == ""


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (MIXED, f"10 from {OLD} (A100), 40 here (H100)"),
        ([answered(50, OLD, "NVIDIA A100")], f"all from {OLD} (A100)"),
        ([answered(3, OLD), answered(7)], f"3 from {OLD} (cpu), 7 here (cpu)"),
        (
            [answered(3, RUN_ID, *["NVIDIA H100"] * 2), answered(7, RUN_ID, "NVIDIA H100", batch_size=1)],
            "3 here (2 × H100, batch_size as usual), 7 here (H100, batch_size 1)",
        ),
    ],
)
def test_where_answers_are_from(parts: list[AnsweredUnder], says: str) -> None:
    assert conditions_text(record(answered=parts)) == says


ATTEMPTS: list[tuple[list[Attempt], str]] = [
    ([], ""),
    ([attempt(Status.INFRA, "engine gone")], "2nd attempt after infra: engine gone"),
    ([attempt(Status.INFRA, "a"), attempt(Status.INFRA, "b")], "3rd attempt after infra, infra: b"),
    ([attempt(Status.INFRA)] * 3, "4th attempt after infra, infra, infra"),
    ([attempt(Status.OOM), attempt(Status.OK, batch_size=1)], "batch_size 1 after oom"),
    (
        [attempt(Status.OOM), attempt(Status.OOM, batch_size=1), attempt(Status.OK, batch_size=1, gpus=2)],
        "gpus 2 after oom, oom",
    ),
]


@pytest.mark.parametrize(("attempts", "says"), ATTEMPTS)
def test_what_was_tried_before(attempts: list[Attempt], says: str) -> None:
    assert attempts_text(record(attempts=attempts)) == says


def test_a_cell_that_failed_says_how_often_it_was_tried() -> None:
    thrice = unscored(Status.INFRA, "engine gone", attempts=[attempt(Status.INFRA)] * 3)
    assert (attempts_text(thrice), notes(thrice)) == ("3 attempts: infra, infra, infra", [])


def test_bounds_in_words() -> None:
    made = metric(60.0, bound_low=57.0, bound_high=63.25)
    assert (
        bounds_text(record(metrics=[made], n_failed=2, max_failed_samples=20))
        == "57–63.2 if the 2 failed were wrong/right"
    )
    share = metric(0.5, max=1, bound_low=0.45, bound_high=0.55, higher_is_better=False)
    assert bounds_text(record(metrics=[share], n_failed=1)) == "0.450–0.550 if the failed one was right/wrong"


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    tried = [attempt(Status.OOM), attempt(Status.OK, batch_size=1)]
    return a_run(
        tmp_path,
        [
            record("a", metrics=[metric(75.0, n=8)], n_failed=2, max_failed_samples=20, fresh=True),
            record("b", answered=MIXED),
            record("c", reused=OLD, n_unparsed=1),
            record("d", reused=OLD, attempts=tried),
            record("e"),
        ],
    )


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def test_the_csv_has_a_column_for_each(run: RunLayout) -> None:
    rows = rows_of(build(run).csv)
    names = ("score", "n", "n_failed", "bound_low", "bound_high", "fresh", "reused", "conditions", "attempts")
    assert [rows["a"][name] for name in names] == ["75.0", "8", "2", "60.0", "80.0", "true", "", "", ""]
    mixed = f"10 from {OLD} (A100), 40 here (H100)"
    assert [rows["b"][name] for name in names[3:]] == ["", "", "false", "", mixed, ""]
    assert (rows["c"]["reused"], rows["c"]["n_unparsed"]) == (OLD, "1")
    assert (rows["d"]["reused"], rows["d"]["attempts"]) == (OLD, "batch_size 1 after oom")


def test_the_workbook_and_the_markdown_say_it_too(run: RunLayout) -> None:
    paths = build(run)
    head, *lines = openpyxl.load_workbook(paths.xlsx)["status"].iter_rows(values_only=True)
    said = {row["model"]: row["notes"] for row in (dict(zip(head, line, strict=True)) for line in lines)}
    assert said == {
        "a": "60–80 if the 2 failed were wrong/right",
        "b": f"answers: 10 from {OLD} (A100), 40 here (H100)",
        "c": f"reused from {OLD}",
        "d": f"reused from {OLD}; batch_size 1 after oom",
        "e": None,
    }
    text = paths.markdown.read_text()
    assert "| a | **75.0** [60–80 if the 2 failed were wrong/right] n=8 |" in text
    assert "| c | **80.0** [49–94] n=10, 1 unparsed |" in text
    assert f"| b@tf-4.37 | POPE | answers: 10 from {OLD} (A100), 40 here (H100) |" in text
    assert rf"| d@tf-4.37 | POPE | reused from {OLD}; batch\_size 1 after oom |" in text


def test_the_terminal_has_one_footnote_for_each(run: RunLayout) -> None:
    screen = io.StringIO()
    door.print_scores(score_table(build(run).records), files={}, console=make_console(screen, width=80))
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert [line for line in lines if re.match("[a-e] .*0$|[¹²³⁴]", line)] == [
        "a       ¹ 75.0",
        "b       ² 80.0",
        "c    ?1 ³ 80.0",
        "d     ³ ⁴ 80.0",
        "e         80.0",
        "¹ 60–80 if the 2 failed were wrong/right",
        f"² answers: 10 from {OLD} (A100), 40 here (H100)",
        f"³ reused from {OLD} (2 cells)",
        "⁴ batch_size 1 after oom",
    ]


def test_a_number_without_its_proof_is_nowhere(run: RunLayout) -> None:
    before = build(run)
    assert before.unproven == ()
    (run.root / "b/tf-4.37/POPE/evaluate/scores.jsonl").unlink()
    paths = build(run)
    assert paths.unproven == ("b@tf-4.37 × POPE: invalid: evaluate/scores.jsonl is gone",)
    assert [r.model for r in paths.records if r.status is Status.OK] == ["a", "c", "d", "e"]
    row = rows_of(paths.csv)["b"]
    assert [row[n] for n in ("status", "score", "n", "ci_low", "reason")] == [
        *("invalid", "", "", "", "evaluate/scores.jsonl is gone"),
    ]
    assert "| b | – invalid |" in paths.markdown.read_text()
    scores = openpyxl.load_workbook(paths.xlsx)["scores"]
    assert [c.value for c in scores["C"]][1:] == [75, "invalid", 80, 80, 80]


# --- hostile text -----------------------------------------------------------------------------------------------------

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
HOSTILE = "=cmd|' /C calc'!A0\x1b[2J\x1b]0;t\x07\u202e\r\n[red];=1+1"


def hostile(status: Status) -> Record:
    """Every text of a record is an attack; it still is one record."""
    return record(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        status=status,
        reason=HOSTILE,
        where=f"x{HOSTILE}",
        metrics=[metric(80.0, id=HOSTILE, unit=HOSTILE)] if status is Status.OK else [],
        **dict.fromkeys(("revision", "transformers", "judge", "scorer", "signature", "adapter", "device"), HOSTILE),
        **dict.fromkeys(("gpu", "image", "image_tag", "lock", "command", "reused"), HOSTILE),
        conditions={HOSTILE: HOSTILE},
        answered=[answered(3, HOSTILE, HOSTILE, device=HOSTILE), answered(7, RUN_ID, HOSTILE)],
        attempts=[attempt(Status.INFRA, HOSTILE)],
    )


@pytest.mark.parametrize("status", [Status.OK, Status.FAILED])
def test_a_hostile_record_moves_nothing_on_the_terminal(status: Status) -> None:
    screen = io.StringIO()
    console = make_console(screen, width=100)
    made = hostile(status)
    door.print_scores(score_table([made]), files={"table": HOSTILE}, notes=[HOSTILE], go_on=HOSTILE, console=console)
    told: list[str] = []
    board = Board(console, cells=1, log=told.append)
    board.cell(made)
    console.print(board.render())
    assert CONTROL.search(screen.getvalue()) is None
    assert len(told) == 1
    assert CONTROL.search(told[0]) is None
    assert "\n" not in told[0]


@pytest.mark.parametrize("status", [Status.OK, Status.FAILED])
def test_a_hostile_record_runs_nothing_in_a_spreadsheet(tmp_path: Path, status: Status) -> None:
    paths = build(a_run(tmp_path, [hostile(status)]))
    assert [r.status for r in paths.records] == [status]
    for separator in (",", ";", "\t"):  # whichever one a spreadsheet takes for it
        with paths.csv.open(encoding="utf-8", newline="") as file:
            cells = [cell for line in csv.reader(file, delimiter=separator) for cell in line]
        assert not [cell for cell in cells if cell.lstrip(' "').startswith(("=", "+", "-", "@"))]
    assert CONTROL.search(paths.csv.read_text()) is None
    book = openpyxl.load_workbook(paths.xlsx)
    written = [cell for sheet in book for line in sheet.iter_rows() for cell in line]
    assert {cell.data_type for cell in written} <= {"s", "n", "b"}
    assert not [cell for cell in written if cell.hyperlink]
    assert CONTROL.search(paths.markdown.read_text()) is None


@pytest.mark.parametrize("text", ["a;=1", "a;'=1", "a\t@x", "a;b", "＝1", "\n=1", "'+1", "a;+1;-2;x", "x;=1;'=2"])
def test_a_formula_behind_any_separator_is_text_and_comes_back(text: str) -> None:
    cell = csv_cell(text)
    assert not [part for part in re.split("[;\t\n]", cell) if part.startswith(("=", "+", "-", "@", "＝"))]
    assert csv_text(cell) == text


TABLES = [b"", b"a,b\n1,2\n", b"\xff\xfe", b"benchmark,status,score,metric,n\nPOPE,ok,many,accuracy,10\n", b"\x00" * 99]


@pytest.mark.parametrize("content", TABLES)
def test_whatever_stands_in_the_runners_table_is_a_line(tmp_path: Path, content: bytes) -> None:
    run = a_run(tmp_path, [record()])
    (run.root / "llava/tf-4.37/llava_results.csv").write_bytes(content)
    (line,) = build(run).problems
    assert "llava" in line
    assert "\n" not in line
