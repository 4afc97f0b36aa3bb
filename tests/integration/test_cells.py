"""Single runs of the command line on what a machine may hold: data and weights in place, limits of time and disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from orchestrator.layout import PROJECT
from tests.integration.command import Run, matrix, mounted
from tests.integration.conftest import EXECUTORS, Docker
from tests.integration.small_registry import REPLAY, benchmark, guess, pope, write

DEMO = ("--registry", "demo/registry.yaml")


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "docker":
        request.getfixturevalue("fresh_images")
    return name


def fingerprint(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Content, mode and time of every file below."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            stat.S_IMODE(path.stat().st_mode),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_data_and_weights_are_used_in_place_and_left_as_they_are(executor: str, tmp_path: Path) -> None:
    """`LMUData` with a file of VLMEvalKit's name whose MD5 is not the kit's, and a hub cache named by `HF_HOME`."""
    data, home = tmp_path / "LMUData", tmp_path / "hf"
    data.mkdir()
    shutil.copy(pope(tmp_path, "few"), data / "POPE.tsv")
    shutil.copytree(PROJECT / "demo" / "hub", home / "hub", symlinks=True)
    entry = benchmark(Path("unused"))
    del entry["file"], entry["dataset"]
    remote = {
        "kind": "remote-code",
        "repo": "lockstep-demo/tiny-remote",
        "also": ["lockstep-demo/tiny-vision"],
        "environments": ["tf-4.33"],
        "trust_remote_code": True,
        "max_new_tokens": 4,
    }
    path = write(tmp_path, models={"guess": guess(), "remote": remote}, benchmarks={"POPE": entry})
    before = fingerprint(data), fingerprint(home)
    environ = {"LMUData": str(data), "HF_HOME": str(home)}
    words = ("--registry", str(path), "--models", "guess,remote", "--limit", "3", "--executor", executor, "--json")
    said = matrix(*words, "--unsandboxed", "--output-root", str(tmp_path / "out"), environ=environ)
    assert said.code == 0, said.json["records"]
    records = said.run.records
    assert {cell[0]: record["status"] for cell, record in records.items()} == {"guess": "ok", "remote": "ok"}
    assert (fingerprint(data), fingerprint(home)) == before
    remote_record = records["remote", "tf-4.33", "POPE"]
    assert (remote_record["revision"], remote_record["pinned"]) == ("5d1c0de0a11ce0000000000000000000000000a1", False)
    planned = ("plan", "--registry", str(path), "--models", "remote")
    elsewhere = {**environ, "HF_HOME": str(data)}
    assert "to fetch: lockstep-demo/tiny-remote@main, for remote" in matrix(*planned, environ=elsewhere).out
    plan = matrix(*planned, "--offline", environ=elsewhere)
    assert plan.code in (3, 4)
    assert "not on this machine: lockstep-demo/tiny-remote@main" in " ".join(plan.out.split())


def test_answers_made_elsewhere_are_scored(executor: str, tmp_path: Path) -> None:
    """F1 of the replayed answers, counted here from the file as POPE counts it: yes is the positive class."""
    data = PROJECT / "demo" / "data" / "demo_pope.tsv"
    header, *lines = data.read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    kept = tmp_path / "one.tsv"  # rows of one category: a row of several counts in each
    rows = [line.split("\t") for line in lines]
    pictures = {row[0]: row[-1] for row in rows}
    chosen = [row for row in rows if row[columns.index("category")] == "random"]
    whole = ["\t".join([*row[:-1], pictures.get(row[-1], row[-1])]) for row in chosen]
    kept.write_text("\n".join([header, *whole]) + "\n", encoding="utf-8")
    answers = {line["id"]: line["answer"] for line in map(json.loads, REPLAY.read_text().splitlines())}
    copies = tmp_path / "answers"
    copies.mkdir()
    shutil.copy(REPLAY, copies / "One.jsonl")
    path = write(
        tmp_path,
        models={
            "one-file": guess(kind="replay", answers=str(REPLAY)),
            "file-each": guess(kind="replay", answers=str(copies / "{benchmark}.jsonl")),
        },
        benchmarks={"One": benchmark(kept), "Other": benchmark(kept)},
    )
    words = ("--registry", str(path), "--models", "all", "--executor", executor, "--json")
    run = matrix(*words, "--output-root", str(tmp_path / "out")).run
    said = [(answers[row[0]].lower(), row[columns.index("answer")] == "Yes") for row in chosen]
    hits = sum(text.startswith("yes") and yes for text, yes in said)
    claimed = sum(text.startswith("yes") for text, _ in said)
    f1 = 200 * hits / (claimed + sum(yes for _, yes in said))
    for model in ("one-file", "file-each"):
        record = run.records[model, "tf-4.37", "One"]
        assert (record["status"], record["n"]) == ("ok", len(chosen)), record
        assert record["metrics"][0]["value"] == pytest.approx(f1)
    lacking = run.records["file-each", "tf-4.37", "Other"]
    assert (lacking["status"], lacking["metrics"]) == ("skipped", [])
    assert "Other.jsonl is not there" in lacking["reason"]


def two_models(folder: Path, **first: Any) -> Path:
    (folder / "none.jsonl").write_text("")
    silent = guess(kind="replay", answers=str(folder / "none.jsonl"))
    return write(
        folder, models={"a": {**silent, **first}, "b": guess()}, benchmarks={"B": benchmark(pope(folder, "few"))}
    )


def test_fail_fast_stops_at_the_first_failure(executor: str, tmp_path: Path) -> None:
    words = (
        "--registry",
        str(two_models(tmp_path)),
        "--models",
        "a,b",
        "--executor",
        executor,
        "--jobs",
        "1",
        "--json",
    )
    said = matrix(*words, "--fail-fast", "--output-root", str(tmp_path / "out"))
    assert said.code == 1, said.err
    reasons = {cell[0]: (record["status"], record["reason"]) for cell, record in said.run.records.items()}
    assert reasons["a"][0] == "failed"
    assert reasons["b"] == ("skipped", "stopped at the first failure")
    assert matrix(*words, "--output-root", str(tmp_path / "out")).run.records["b", "tf-4.37", "B"]["status"] == "ok"


def test_a_job_that_takes_too_long_is_ended(executor: str, tmp_path: Path) -> None:
    path = two_models(tmp_path)
    words = ("--registry", str(path), "--executor", executor, "--json", "--output-root", str(tmp_path / "out"))
    assert matrix(*words, "--models", "b").code == 0  # its index is made
    said = matrix(*words, "--models", "b", "--fresh", "--timeout", "0.2s")
    assert said.code == 1, said.err
    record = said.run.records["b", "tf-4.37", "B"]
    assert (record["status"], record["metrics"]) == ("timeout", [])
    assert "0.2 s" in record["reason"], record["reason"]


@pytest.mark.venv
def test_a_disk_that_fills_up_keeps_what_was_finished(tmp_path: Path) -> None:
    """The first model ends, then its last act fills the disk: a file as large as what is free."""
    registry = two_models(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    before = mounted(disk, "-o size=1100m")
    # a shell beside the run takes all that is left once the first cell is ok, and copies out what stays
    script = (
        f"""(until grep -qs '"status": "ok"' {disk}/*/records/*/*.json; do sleep 0.02; done; """
        f"""fallocate -l $(($(df --output=avail -B1 {disk} | tail -1) - 1000000)) {disk}/fill; """
        f"""cat /dev/zero >> {disk}/fill 2>/dev/null; """
        """true) & "$@"; code=$?; kill $! 2>/dev/null; """
        f"""cp -r {disk}/2* {tmp_path}/kept; exit $code"""
    )
    words = ("--registry", str(registry), "--models", "b,c,d", "--executor", "venv", "--jobs", "1")
    content = json.loads(registry.read_text())
    content["models"] |= {"c": guess(), "d": guess()}
    registry.write_text(json.dumps(content))
    said = matrix(*words, "--output-root", str(disk), before=[*before, "sh", "-c", script, "-"])
    assert said.lines
    kept = tmp_path / "kept"
    record = json.loads((kept / "records" / "b@tf-4.37" / "B.json").read_bytes())
    assert record["status"] == "ok"
    for path in kept.glob("records/*/*.json"):
        json.loads(path.read_bytes())
    assert said.code == 4, (said.code, said.err)
    assert (
        "No space left on device; nothing that was answered is lost: mend it, then python run_matrix.py resume"
        in said.err
    )
    assert matrix("report", "kept", "--output-root", str(tmp_path)).code == 0
    assert [row["status"] for row in Run(root=kept).rows][:1] == ["ok"]


@pytest.mark.engine
def test_repro_prints_and_repeats_one_cell_by_image_id(fresh_images: None, tmp_path: Path) -> None:
    out = ("--output-root", str(tmp_path))
    words = (*DEMO, "--models", "random-choice", "--benchmarks", "DemoPOPE", "--limit", "4", "--executor", "docker")
    run = matrix(*words, "--json", *out).run
    image = run.records["random-choice", "tf-4.37", "DemoPOPE"]["image"]
    printed = matrix("repro", "random-choice", "DemoPOPE", "--print", *out)
    assert printed.code == 0, printed.err
    assert image in printed.out
    assert "--network" in printed.out
    repeated = matrix("repro", "random-choice", "DemoPOPE", *out)
    assert repeated.code == 0, repeated.err
    assert "4 of 4 answers are equal to the recorded ones" in repeated.out


@pytest.mark.engine
def test_an_image_stands_alone(docker: Docker) -> None:
    tag = next(line for line in matrix("images", "--tags", *DEMO).out.split() if "tf-4.37" in line)
    data = f"{PROJECT / 'demo' / 'data'}:/data:ro"
    words = ("--model", "random-choice", "--data", "/data/demo_pope.tsv", "--dataset", "POPE", "--limit", "4")
    printed = docker("run", "--rm", "--network", "none", "-v", data, tag, *words)
    assert "transformers 4.37.2" in printed
    assert "f1" in printed


def test_relative_paths_mean_the_same_from_every_folder(tmp_path: Path) -> None:
    words = ("plan", *DEMO, "--models", "random-choice", "--json")
    plans = [matrix(*words, cwd=folder).json["cells"] for folder in ("/", str(PROJECT), str(PROJECT / "demo"))]
    assert plans[0] == plans[1] == plans[2]
    assert all(cell["status"] == "run" for cell in plans[0])
    missing = matrix("report", "--output-root", "demo/none", cwd=str(tmp_path))
    assert (missing.code, len(missing.lines)) == (2, 1)
    assert str(PROJECT / "demo" / "none") in missing.err
    assert os.listdir(tmp_path) == []


def test_the_catalogues_are_listed() -> None:
    said = matrix("registry", "list", *DEMO, "--json")
    assert said.code == 0, said.err
    assert "tiny-llava" in said.out
    checked = matrix("registry", "check", *DEMO)
    assert (checked.code, checked.lines) == (0, []), checked.err
