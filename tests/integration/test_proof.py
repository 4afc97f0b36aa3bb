"""Failed samples within a tolerance, and proof that goes missing later: the real runner, scorer and command line."""

from __future__ import annotations

import ast
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.layout import PROJECT
from tests.integration.command import matrix
from tests.integration.small_registry import guess, write

pytestmark = pytest.mark.venv

DATA = PROJECT / "demo" / "data" / "demo_textvqa.tsv"
METRIC = {"id": "vqa_score", "unit": "%", "max": 100, "mean": True}


def _answers(folder: Path) -> Path:
    """Right answers, but for two questions wrong ones and for two none."""
    csv.field_size_limit(2**30)
    with DATA.open(encoding="utf-8", newline="") as file:
        right = {row["index"]: ast.literal_eval(row["answer"])[0] for row in csv.DictReader(file, delimiter="\t")}
    given = {**right, **dict.fromkeys(list(right)[:2], "wrong")}
    for lacking in list(right)[-2:]:
        del given[lacking]
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps({"id": name, "answer": str(said)}) + "\n" for name, said in given.items()))
    return path


def _benchmark(tolerated: float) -> dict[str, Any]:
    more = {"max_failed_samples": tolerated} if tolerated else {}
    return {"dataset": "TextVQA_VAL", "type": "vqa", "file": str(DATA), "metric": METRIC, **more}


def test_a_tolerated_share_of_failed_samples_and_a_proof_that_is_gone(tmp_path: Path) -> None:
    registry = write(
        tmp_path,
        models={"replayed": guess(kind="replay", answers=str(_answers(tmp_path)))},
        benchmarks={"Strict": _benchmark(0), "Tight": _benchmark(4), "Lenient": _benchmark(5)},
    )
    outputs = ("--output-root", str(tmp_path / "outputs"))
    said = matrix("--registry", str(registry), "--executor", "venv", "--unsandboxed", "--json", *outputs)
    assert said.code == 1, said.err
    rows = {row["benchmark"]: row for row in said.run.rows}
    ended = {name: (row["status"], bool(row["score"]), row["n_failed"]) for name, row in rows.items()}
    failed = ("failed", False, "2")
    assert ended == {"Strict": failed, "Tight": failed, "Lenient": ("ok", True, "2")}
    assert rows["Tight"]["reason"].startswith("2 of 40 samples failed, 4 % are tolerated: sample ")
    lenient = rows["Lenient"]
    assert (lenient["n"], lenient["n_expected"]) == ("38", "40")
    units = [unit["score"] for unit in said.run.lines("replayed/tf-4.37/Lenient/evaluate/scores.jsonl")]
    assert (units.count(None), len(units)) == (2, 40)
    total = 100 * sum(score for score in units if score is not None)
    numbers = [float(lenient[name]) for name in ("bound_low", "score", "bound_high")]
    assert numbers == pytest.approx([total / 40, total / 38, (total + 200) / 40])
    assert 0 < total < 3800
    again = matrix("report", said.run.root.name, "--json", *outputs)
    assert (again.code, again.json["problems"]) == (0, [])
    scores = said.run.root / "replayed/tf-4.37/Lenient/evaluate/scores.jsonl"
    changed = scores.read_text().replace('"score": 0.0', '"score": 1.0', 1)
    assert changed != scores.read_text()
    scores.write_text(changed)
    taken_back = matrix("report", said.run.root.name, *outputs)
    assert taken_back.code == 1
    assert "invalid replayed@tf-4.37 × Lenient: evaluate/scores.jsonl changed since it was judged" in taken_back.out
    now = {row["benchmark"]: (row["status"], row["score"]) for row in said.run.rows}
    assert now["Lenient"] == ("invalid", "")
