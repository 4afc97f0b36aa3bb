"""Runs that build on earlier ones: what is taken, what runs and why, in real containers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Tally
from tests.integration.command import Run, Said, matrix
from tests.integration.small_registry import benchmark, guess, pope, write

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("fresh_images")]


def run(folder: Path, *words: str, **models: dict[str, Any]) -> Said:
    """One model and one benchmark of twelve rows at most; `models` in its place."""
    data = folder / "A.tsv"
    pope(folder, "A", slice(9))
    registry = write(folder, models=models or {"m": guess()}, benchmarks={"A": benchmark(data)})
    return matrix("--registry", str(registry), "--output-root", str(folder / "out"), "--json", *words)


def plan(folder: Path, *words: str, **models: dict[str, Any]) -> list[tuple[str, int | None, str]]:
    """Status, generations and why of each cell."""
    cells = run(folder, "--plan", *words, **models).json["cells"]
    return [(cell["status"], cell["generations"], cell["why"]) for cell in cells]


def asked(run: Run) -> list[str]:
    """The samples that were given to a model in this run."""
    events = [event for path in run.root.glob("*/*/events.jsonl") for event in run.lines(str(path))]
    return [event["sample"] for event in events if event["phase"] == "infer" and event["sample"]]


def test_the_same_command_again_starts_nothing_and_gives_the_same_table(tmp_path: Path) -> None:
    first = run(tmp_path, "--limit", "4")
    assert first.code == 0, first.err
    name = first.run.root.name
    assert plan(tmp_path, "--limit", "4") == [("reused", 0, f"reused from {name}")]
    # no engine is asked: there is none at this address
    again = run(tmp_path, "--limit", "4", "--executor", "docker")
    dead = matrix(
        *(
            "--registry",
            str(tmp_path / "registry.yaml"),
            "--output-root",
            str(tmp_path / "out"),
            "--limit",
            "4",
            "--json",
        ),
        environ={"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"},
    )
    for said in (again, dead):
        assert said.code == 0, said.err
        assert asked(said.run) == []
        assert [row["score"] for row in said.run.rows] == [row["score"] for row in first.run.rows]
        assert {row["reused"] for row in said.run.rows} == {name}
    # it stands by itself: the run that it was taken from may go
    shutil.rmtree(first.run.root)
    assert matrix("report", again.run.root.name, "--output-root", str(tmp_path / "out")).code == 0


def test_a_higher_limit_answers_only_what_is_new(tmp_path: Path) -> None:
    first = run(tmp_path, "--limit", "4")
    assert plan(tmp_path, "--limit", "9") == [("run", 5, f"5 to answer, 4 from {first.run.root.name}")]
    second = run(tmp_path, "--limit", "9")
    assert second.code == 0, second.err
    (before,), (after,) = ([*said.run.records.values()] for said in (first, second))
    assert len(asked(second.run)) == 5
    assert set(asked(second.run)).isdisjoint(asked(first.run))
    assert (before["n"], after["n"]) == (4, 9)
    assert sorted(part["samples"] for part in after["answered"]) == [4, 5]
    assert {part["conditions"]["run_id"] for part in after["answered"]} == {first.run.root.name, second.run.root.name}
    # a lower one takes them all, and only scores
    third = run(tmp_path, "--limit", "2")
    assert asked(third.run) == []
    assert next(iter(third.run.records.values()))["n"] == 2


def test_generation_changes_run_and_scoring_changes_do_not(tmp_path: Path) -> None:
    name = run(tmp_path, "--limit", "4").run.root.name
    changed = guess(max_new_tokens=7)
    assert plan(tmp_path, "--limit", "4", m=changed) == [("run", 4, "generation max_new_tokens 128 → 7")]
    assert plan(tmp_path, "--limit", "4", "--seed", "3") == [("run", 4, "generation seed 0 → 3")]
    assert plan(tmp_path, "--limit", "4", "--jobs", "1") == [("reused", 0, f"reused from {name}")]
    # other memory, other time limits, another machine's address: conditions, not content
    path = tmp_path / "registry.yaml"
    path.write_text(path.read_text().replace('"tmp_gb": 1', '"tmp_gb": 2, "stall_minutes": 3'))
    said = matrix("--registry", str(path), "--output-root", str(tmp_path / "out"), "--plan", "--json", "--limit", "4")
    assert [cell["status"] for cell in said.json["cells"]] == ["reused"]


def test_fresh_takes_nothing_and_can_itself_be_resumed(tmp_path: Path) -> None:
    run(tmp_path, "--limit", "4")
    assert plan(tmp_path, "--limit", "4", "--fresh") == [("run", 4, "fresh")]
    fresh = run(tmp_path, "--limit", "4", "--fresh")
    assert len(asked(fresh.run)) == 4
    assert [record["fresh"] for record in fresh.run.records.values()] == [True]
    again = matrix("resume", fresh.run.root.name, "--output-root", str(tmp_path / "out"), "--json")
    assert again.code == 0, again.err
    assert again.run.root == fresh.run.root
    assert len(asked(fresh.run)) == 4


def test_a_copy_of_the_project_elsewhere_uses_what_was_moved_there(tmp_path: Path) -> None:
    first = run(tmp_path, "--limit", "4")
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    shutil.move(first.run.root, elsewhere / "kept")
    registry = str(tmp_path / "registry.yaml")
    said = matrix("--registry", registry, "--output-root", str(elsewhere), "--limit", "4", "--json")
    assert said.code == 0, said.err
    assert [record["reused"] for record in said.run.records.values()] == ["kept"]
    report = matrix("report", "kept", "--output-root", str(elsewhere), "--json")
    assert (report.code, report.json["problems"]) == (0, [])


def harmed(folder: Path, lines: list[str], sample: str) -> None:
    """A torn last line, a duplicated block, a foreign sample."""
    alien = lines[0].replace(f'"id": "{sample}"', '"id": "alien"')
    (folder / "predictions.jsonl").write_text("".join([*lines[:3], lines[0], lines[1], alien, lines[3][:30]]))


@pytest.mark.fault
def test_of_an_unfinished_run_only_what_was_harmed_is_asked_again(tmp_path: Path, tally: Tally) -> None:
    """As a crash of the machine leaves it: nothing was judged yet."""
    first = run(tmp_path, "--limit", "4")
    (record,) = first.run.records.values()
    folder = first.run.root / record["stages"][0]["path"]
    harmed(folder, (folder / "predictions.jsonl").read_text().splitlines(keepends=True), asked(first.run)[0])
    for path in first.run.root.glob("m/**/result.json"):
        path.unlink()
    unjudged: dict[str, Any] = {
        "status": "infra",
        "reason": "not finished",
        "metrics": [],
        "artefacts": {},
        "finished": None,
        "n": None,
    }
    (path,) = first.run.root.glob("records/*/*.json")
    path.write_text(json.dumps(record | unjudged))
    again = matrix("resume", "--output-root", str(tmp_path / "out"), "--json")
    assert again.code == 0, again.err
    kept = [line["id"] for line in first.run.lines(str(folder / "predictions.jsonl"))]
    torn = 1
    tally(samples=4, lost=4 - len(set(kept)), twice=len(asked(first.run)) - 4 - torn)
    assert sorted(kept) == sorted(asked(first.run)[:4])


@pytest.mark.fault
def test_answers_changed_after_they_were_judged_give_no_number_and_are_asked_again(tmp_path: Path) -> None:
    first = run(tmp_path, "--limit", "4")
    (record,) = first.run.records.values()
    folder = first.run.root / record["stages"][0]["path"]
    judged = (folder / "predictions.jsonl").read_text()
    harmed(folder, judged.splitlines(keepends=True), asked(first.run)[0])
    report = matrix("report", "--output-root", str(tmp_path / "out"), "--json")
    assert report.code == 1
    assert "changed since it was judged" in report.json["problems"][0]
    why = f"again: its files changed since they were judged in {first.run.root.name}"
    assert plan(tmp_path, "--limit", "4") == [("run", 4, why)]
    again = matrix("resume", "--output-root", str(tmp_path / "out"), "--json")
    assert again.code == 0, again.err
    assert len(asked(first.run)) == 8
    assert (folder / "predictions.jsonl.changed").exists(), "set aside, not lost"
    answers = [{**line, "seconds": 0} for line in first.run.lines(str(folder / "predictions.jsonl"))]
    before = [{**json.loads(line), "seconds": 0} for line in judged.splitlines()]
    assert answers == before


def test_another_kind_of_benchmark_on_the_same_file_shares_nothing(tmp_path: Path) -> None:
    """Type and dataset choose the prompts and the scorer: what one of them gave proves nothing for another."""
    assert run(tmp_path, "--limit", "4").code == 0
    path = tmp_path / "registry.yaml"
    content = json.loads(path.read_text())
    metric = {"id": "accuracy", "unit": "%", "max": 100}
    content["benchmarks"]["A"] |= {"dataset": "GQA_TestDev_Balanced", "type": "exact", "metric": metric}
    path.write_text(json.dumps(content))
    words = ("--registry", str(path), "--output-root", str(tmp_path / "out"), "--limit", "4", "--plan", "--json")
    (cell,) = matrix(*words).json["cells"]
    assert (cell["status"], cell["generations"]) != ("reused", 0)
    assert "benchmark dataset POPE → GQA_TestDev_Balanced, type yes_no → exact" in cell["why"]


@pytest.mark.fault
@pytest.mark.parametrize("harm", ["", "{", '{"schema_version": 1}'], ids=["empty", "torn", "older format"])
def test_a_harmed_result_is_scored_again_from_the_answers(tmp_path: Path, harm: str, tally: Tally) -> None:
    first = run(tmp_path, "--limit", "4")
    (record,) = first.run.records.values()
    (first.run.root / record["stages"][1]["path"] / "result.json").write_text(harm)
    again = run(tmp_path, "--limit", "4")
    assert again.code == 0, again.err
    (after,) = again.run.records.values()
    tally(samples=4, lost=4 - after["n"], twice=len(asked(again.run)))
    assert [row["score"] for row in again.run.rows] == [row["score"] for row in first.run.rows]
