"""The runner's own table: csv and workbook say the same, and text stays text."""

from __future__ import annotations

import csv
from pathlib import Path

import openpyxl
import pytest
from lockstep_runner import table
from lockstep_runner.table import COLUMNS

from orchestrator.layout import RunLayout
from orchestrator.reports.agree import disagreements
from orchestrator.reports.rows import csv_cell, csv_text
from orchestrator.terminal.visible import visible
from tests.unit.made_records import NASTY, metric, record
from tests.unit.runner_fakes import House, evaluate, house, infer, raises


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return house(tmp_path, monkeypatch)


def rows_of_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_for_each_stage_and_metric(place: House) -> None:
    place.missing.add("B")
    place.run(infer("A"), evaluate("A"), infer("B"), evaluate("B"))
    good, bad = rows_of_csv(place.out / "m_results.csv")
    assert tuple(good) == COLUMNS
    assert (good["model"], good["benchmark"], good["status"], good["metric"], good["score"]) == (
        "m",
        "A",
        "ok",
        "accuracy",
        "50.0",
    )
    assert (good["unit"], good["higher_is_better"], good["primary"], good["n"], good["n_rows"]) == (
        "%",
        "True",
        "True",
        "2",
        "4",
    )
    assert float(good["load_seconds"]) >= 0
    assert (bad["benchmark"], bad["status"], bad["metric"], bad["score"]) == ("B", "failed", "", "")
    assert bad["reason"] == "DataError: cache/data/B.tsv: no such file"


def test_both_files_say_the_same(place: House) -> None:
    place.model.answers["s1"] = raises(ValueError("=1+1"))
    place.run(infer("A"), evaluate("A"), evaluate("B"))
    sheet = openpyxl.load_workbook(place.out / "m_results.xlsx").active
    assert sheet is not None
    header, *rows = sheet.iter_rows(values_only=True)
    written = rows_of_csv(place.out / "m_results.csv")
    assert header == COLUMNS
    assert [["" if cell is None else cell for cell in row] for row in rows] == [
        [_as_cell(row[column], cell) for column, cell in zip(COLUMNS, cells, strict=True)]
        for row, cells in zip(written, rows, strict=True)
    ]


def _as_cell(text: str, cell: object) -> object:
    """A csv field as the workbook holds it: numbers and truth values have a type there."""
    if isinstance(cell, bool):
        return text == "True"
    return type(cell)(float(text)) if isinstance(cell, (int, float)) else csv_text(text)


def test_text_in_the_workbook_is_never_a_formula_a_number_or_a_link(place: House) -> None:
    texts = ["=1+1", "0012", "https://example.org/x"]
    for text in texts:
        place.model.answers = {f"s{i}": raises(ValueError(text)) for i in range(4)}
        place.run(infer(text.replace("/", "_")), evaluate(text.replace("/", "_")), model="=m")
        sheet = openpyxl.load_workbook(place.out / f"{'_m-' + _digest('=m')}_results.xlsx").active
        assert sheet is not None
        cells = {header.value: cell for header, cell in zip(sheet[1], sheet[2], strict=True)}
        assert (cells["model"].value, cells["model"].data_type) == ("=m", "s")
        assert (cells["reason"].value, cells["reason"].data_type) == (f"ValueError: {text}", "s")
        assert cells["benchmark"].data_type == "s"


def _digest(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()[:12]


def test_a_job_that_scores_nothing_leaves_no_table(place: House) -> None:
    place.run(infer())
    assert list(place.out.glob("*_results.*")) == []


INNER = ("a;=1+1", "a\t+1", "a\n@x", "\n=1", "＝1+1", "x;＠a", "a;'b", "a = 1; b")


@pytest.mark.parametrize("text", [*NASTY, *INNER], ids=range(len(NASTY) + len(INNER)))
def test_text_in_the_csv_is_protected_as_the_report_protects_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m_results.csv"
    table._write_csv(path, [{"model": text, "score": -1.5, "n": 2, "primary": True}])
    (row,) = rows_of_csv(path)
    assert row["model"] == csv_cell(text)
    assert csv_text(row["model"]) == visible(text)
    assert (row["score"], row["n"], row["primary"]) == ("-1.5", "2", "True")  # a negative number is no formula


def test_a_cell_that_is_too_long_for_the_workbook_is_cut_visibly(tmp_path: Path) -> None:
    path = tmp_path / "m_results.xlsx"
    longest = "a" * 32_767
    table._write_xlsx(path, [{"reason": longest + "b"}, {"reason": longest}])
    sheet = openpyxl.load_workbook(path).active
    assert sheet is not None
    place = COLUMNS.index("reason")
    cut, whole = (row[place] for row in sheet.iter_rows(min_row=2, values_only=True))
    assert whole == longest
    assert len(str(cut)) == 32_767
    assert str(cut).endswith("a… [cut: 32,768 characters in all; the whole text is in the .csv beside this file]")


def test_the_report_reads_protected_names(place: House) -> None:
    place.run(infer("=B"), evaluate("=B"))
    run = RunLayout(root=place.root / "run")
    out = run.job_out("m", "tf-4.37")
    out.parent.mkdir(parents=True)
    place.out.rename(out)
    (row,) = rows_of_csv(out / "m_results.csv")
    assert row["benchmark"] == "'=B"
    assert disagreements(run, [record("m", "=B", metrics=[metric(50.0, n=2)])]) == []
    assert disagreements(run, [record("m", "=B", metrics=[metric(51.0, n=2)])]) == [
        "m@tf-4.37 × =B, accuracy: 51.0 (n 2) in the record, 50.0 (n 2) at m/tf-4.37/m_results.csv:2"
    ]
