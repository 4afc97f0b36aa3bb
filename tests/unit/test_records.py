"""Records: written whole, read back equal, and refused with a clear line when they are not what they should be."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestrator.executors.protocol import Status
from orchestrator.files import replace_file
from orchestrator.layout import RunLayout
from orchestrator.records.files import RecordError, read_record, read_records, read_run, write_record
from orchestrator.records.record import repro_command
from tests.unit.made_records import NASTY, a_run, metric, record, run_file, unscored


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    run = RunLayout(root=tmp_path)
    made = record()
    path = write_record(run, made)
    assert path == tmp_path / "records" / "llava@tf-4.37" / "POPE.json"
    assert read_records(run) == [made]
    assert read_record(path) == made


@pytest.mark.parametrize("text", NASTY)
def test_any_text_comes_back(tmp_path: Path, text: str) -> None:
    made = unscored(Status.FAILED, text)
    assert read_record(write_record(RunLayout(root=tmp_path), made)).reason == text


def test_records_can_be_moved(tmp_path: Path) -> None:
    run = a_run(tmp_path / "here", [record(), record(benchmark="MME")])
    shutil.move(run.root, tmp_path / "elsewhere")
    moved = RunLayout(root=tmp_path / "elsewhere")
    assert [r.benchmark for r in read_records(moved)] == ["MME", "POPE"]
    assert str(tmp_path) not in (moved.records / "llava@tf-4.37" / "POPE.json").read_text()


def test_an_absolute_path_never_gets_into_a_record() -> None:
    with pytest.raises(ValidationError, match="is absolute"):
        record(where="/somewhere/run.log:3")


def test_a_number_that_is_none_never_gets_into_a_record() -> None:
    with pytest.raises(ValidationError, match="finite"):
        metric(float("nan"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"schema_version": 2, "run_id": "x', "cut or not JSON"),
        ("", "cut or not JSON"),
        ("[]", "no schema_version"),
        ('{"schema_version": 0}', "format 0 is older than this Lockstep's 2"),
        ('{"schema_version": 3}', "format 3 is newer than this Lockstep's 2; type git pull"),
        ('{"schema_version": 2}', "run_id: Field required"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "POPE.json"
    path.write_text(content)
    with pytest.raises(RecordError) as raised:
        read_record(path)
    assert len(raised.value.problems) == 1
    assert raised.value.problems[0].startswith(f"{path}: ")
    assert says in raised.value.problems[0]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "POPE.json"
    path.write_bytes(b'{"schema_version": 2, "run_id": "\xff\xfe"}')
    with pytest.raises(RecordError, match="cut or not JSON"):
        read_record(path)


def test_all_bad_records_are_told_at_once(tmp_path: Path) -> None:
    run = a_run(tmp_path, [record(), record(benchmark="MME"), record(benchmark="AI2D")])
    for name in ("MME", "AI2D"):
        (run.records / "llava@tf-4.37" / f"{name}.json").write_text("{")
    with pytest.raises(RecordError) as raised:
        read_records(run)
    assert [Path(problem.split(":")[0]).name for problem in raised.value.problems] == ["AI2D.json", "MME.json"]


def test_unknown_fields_are_refused(tmp_path: Path) -> None:
    path = write_record(RunLayout(root=tmp_path), record())
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": 1}))
    with pytest.raises(RecordError, match="extra: Extra inputs"):
        read_record(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "POPE.json"
    replace_file(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["POPE.json"]


def test_run_json_comes_back_or_is_none(tmp_path: Path) -> None:
    made = run_file(host={"cores": 2, "gpus": []}, models=["llava"])
    run = a_run(tmp_path, [], made)
    assert read_run(run) == made
    run.run_json.unlink()
    assert read_run(run) is None


def test_the_command_that_repeats_a_cell_can_be_pasted() -> None:
    assert repro_command("my model", "A;B", "r1", "tf-4.42") == (
        "python run_matrix.py repro 'my model' 'A;B' --run r1 --environment tf-4.42"
    )
