"""Hand-made records, job folders and run files for the tests of records, validity, reports and the terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.executors.protocol import Outcome, Status
from orchestrator.job import MetricSpec, Versions
from orchestrator.layout import RunLayout, slug
from orchestrator.planning.identity import samples_sha256
from orchestrator.records.files import read_records, write_record, write_run
from orchestrator.records.record import Identity, Record, RecordMetric, RunFile, StageRef
from orchestrator.validity.judge import CellEvidence, StageEvidence
from orchestrator.validity.recheck import artefacts_of
from orchestrator.validity.stats import proportion_interval

RUN_ID = "20261121-020000"
HERE = "0a1b2c3d4e5f"  # the key of the conditions that samples name where nothing else is said
DIGEST = "ef" * 32  # of the environment
ACCURACY = MetricSpec(id="accuracy", unit="%", max=100, proportion=True)
NASTY = ("=1+1", "+1", "-1", "@x", "NA", "'quoted", "a\x00b\x0bc\x1b[31md", "a\tb\nc", "k" * 40_000, "한국어 | `x`")


def metric(value: float, **changes: Any) -> RecordMetric:
    """An accuracy in per cent over ten units, primary, without an interval."""
    plain = {"id": "accuracy", "unit": "%", "min": 0, "max": 100, "higher_is_better": True, "primary": True, "n": 10}
    return RecordMetric.model_validate({**plain, "value": value, **changes})


def record(model: str = "llava", benchmark: str = "POPE", environment: str = "tf-4.37", **changes: Any) -> Record:
    """An ok cell with accuracy 80 of 100 over ten units; `changes` are fields of the record."""
    folder = f"{slug(model)}/{slug(environment)}/{slug(benchmark)}"
    stages = [
        StageRef(id=f"{slug(benchmark)}/{kind}", kind=kind, path=f"{folder}/{kind}", environment=environment)
        for kind in ("infer", "evaluate")
    ]
    plain: dict[str, Any] = {
        "run_id": RUN_ID,
        "model": model,
        "kind": "hf",
        "revision": "main",
        "benchmark": benchmark,
        "environment": environment,
        "transformers": "4.37.2",
        "status": Status.OK,
        "metrics": [metric(80.0, ci_low=49.0, ci_high=94.3)],
        "limit": 10,
        "n": 10,
        "n_expected": 10,
        "n_rows": 10,
        "n_failed": 0,
        "n_unparsed": 0,
        "judge": "exact_matching",
        "adapter": "hf 1",
        "load_seconds": 1.5,
        "seconds": 3.25,
        "device": "cpu",
        "isolated": True,
        "image": "sha256:" + "ab" * 32,
        "lock": "cd" * 32,
        "identity": Identity(prediction="12" * 32, score="34" * 32),
        "stages": stages,
        "started": "2026-11-21T02:00:00+00:00",
        "finished": "2026-11-21T02:01:00+00:00",
        "command": f"python run_matrix.py repro {model} {benchmark} --run {RUN_ID}",
    }
    return Record.model_validate({**plain, **changes})


def unscored(status: Status, reason: str, *names: str, where: str = "", **changes: Any) -> Record:
    """A cell without a number."""
    return record(*names, status=status, reason=reason, where=where, metrics=[], n=None, **changes)


def run_file(**changes: Any) -> RunFile:
    plain: dict[str, Any] = {
        "run_id": RUN_ID,
        "command": "python run_matrix.py --models all --limit 10",
        "started": "2026-11-21T02:00:00+00:00",
        "finished": "2026-11-21T02:41:00+00:00",
        "lockstep": "0.1.0",
        "executor": "docker",
        "limit": 10,
    }
    return RunFile.model_validate({**plain, **changes})


def a_run(root: Path, records: Sequence[Record], run: RunFile | None = None) -> RunLayout:
    """A run's folder with run.json and the records; behind those that are ok lie files that prove them."""
    layout = RunLayout(root=root / RUN_ID)
    layout.root.mkdir(parents=True, exist_ok=True)
    for one in records:
        write_record(layout, proven(layout, one) if one.status is Status.OK and one.stages else one)
    write_run(layout, run or run_file())
    return layout


def proven(run: RunLayout, record: Record) -> Record:
    """Write what a runner would have left of this ok record, and give the record with what belongs to the files."""
    infer, evaluate = record.stages
    primary = record.metrics[0]
    good, bad, unparsed = primary.n, record.n_failed or 0, record.n_unparsed or 0
    ids = [f"s{number}" for number in range(good + bad)]
    share = (primary.value - primary.min) / (primary.max - primary.min)
    ones = [float(number < round(share * good)) for number in range(good)]
    scores = [*(ones if primary.ci_low is not None or bad else [share] * good), *[None] * bad]
    rows = [prediction(s, None, error=failure()) if s in ids[good:] else prediction(s) for s in ids]
    write_lines(run.root / infer.path / "predictions.jsonl", rows)
    known = {HERE: conditions(versions=versions(transformers=record.transformers), adapter=record.adapter)}
    (run.root / infer.path / "conditions.json").write_text(json.dumps(known), encoding="utf-8")
    units = [score(s, v, unparsed=n < unparsed) for n, (s, v) in enumerate(zip(ids, scores, strict=True))]
    write_lines(run.root / evaluate.path / "scores.jsonl", units)
    for stage in record.stages:
        said = _said(record, stage, ids, failed=bad)
        (run.root / stage.path / "result.json").write_text(json.dumps(said), encoding="utf-8")
    return record.model_copy(
        update={
            "metrics": [_exact(m, sum(ones), bad) for m in record.metrics],
            **{"n": good, "n_expected": good + bad, "n_rows": good + bad, "n_failed": bad, "n_unparsed": unparsed},
            "samples_sha256": samples_sha256(ids),
            "units_sha256": samples_sha256(ids),
            "versions": Versions.model_validate(versions(transformers=record.transformers)),
            "artefacts": artefacts_of(run.root, record.stages),
        }
    )


def _said(record: Record, stage: StageRef, ids: Sequence[str], *, failed: int) -> dict[str, Any]:
    """A stage's result.json that agrees with the record; another environment has other versions inside."""
    own = stage.environment == record.environment
    inside = versions(transformers=record.transformers) if own else versions(transformers="9", environment_digest="e")
    more: dict[str, Any] = {"adapter": record.adapter}
    if stage.kind == "evaluate":
        metrics = [{"id": m.id, "value": m.value, "n": m.n} for m in record.metrics]
        more = {"n_units": len(ids) - failed, "n_unparsed": record.n_unparsed or 0, "metrics": metrics}
    more |= {"stage": stage.id, "model": record.model, "environment": stage.environment, "versions": inside}
    return stage_result(stage.kind, record.benchmark, ids, **more, n_failed=failed)


def judged_anew(run: RunLayout) -> None:
    """Take the files as they are now for what was judged."""
    for one in read_records(run):
        if one.status is Status.OK:
            write_record(run, one.model_copy(update={"artefacts": artefacts_of(run.root, one.stages)}))


def _exact(made: RecordMetric, right: float, failed: int) -> RecordMetric:
    """With the interval and the bounds that judging gives."""
    changes: dict[str, float] = {}
    if made.ci_low is not None:
        interval = proportion_interval(made.value, made.n, minimum=made.min, maximum=made.max)
        assert interval
        changes |= {"ci_low": interval.low, "ci_high": interval.high}
    if failed:
        every = made.n + failed
        changes |= {"bound_low": made.max * right / every, "bound_high": made.max * (right + failed) / every}
    return made.model_copy(update=changes)


def stage_result(kind: str, name: str, ids: Sequence[str], **changes: Any) -> dict[str, Any]:
    """The content of a stage's result.json."""
    plain = {
        "schema_version": 2,
        "stage": f"{slug(name)}/{kind}",
        "kind": kind,
        "model": "llava",
        "benchmark": name,
        "environment": "tf-4.37",
        "status": "ok",
        "n_rows": len(ids),
        "n_units": len(ids),
        "samples_sha256": samples_sha256(ids),
        "versions": versions(),
        "adapter": "hf 1" if kind == "infer" else None,
        "load_events": 1,
        "seconds": 1.0,
    }
    return {**plain, **changes}


def prediction(sample: str, answer: str | None = "Yes", **changes: Any) -> dict[str, Any]:
    plain = {"id": sample, "answer": answer, "error": None, "prompt_sha256": "p", "seconds": 0.1}
    return {**plain, "conditions": HERE, **changes}


def versions(**changes: Any) -> dict[str, Any]:
    plain = {"python": "3.11.9", "runner": "0.1.0", "transformers": "4.37.2", "environment_digest": DIGEST}
    return {**plain, **changes}


def conditions(**changes: Any) -> dict[str, Any]:
    """Under what samples were answered: here, on a CPU."""
    return {"run_id": RUN_ID, "device": "cpu", "adapter": "hf 1", "versions": versions(), **changes}


def failure(**changes: Any) -> dict[str, Any]:
    plain = {"kind": "model", "type": "RuntimeError", "message": "shapes differ", "where": "modeling.py:7"}
    return {**plain, "phase": "infer", "sample": None, **changes}


def score(sample: str, value: float | None = 1.0, **changes: Any) -> dict[str, Any]:
    plain = {"id": sample, "group": sample, "ids": [sample], "score": value, "parsed": "Yes", "unparsed": False}
    return {**plain, "question": f"Is {sample} there?", "reference": "Yes", **changes}


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class JobFolder:
    """What a runner leaves of one cell: ten POPE samples, eight right; each test harms one thing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids = [f"s{number}" for number in range(10)]
        self.out = root / "llava" / "tf-4.37"
        self.log = root / "logs" / "llava@tf-4.37.log"
        self.infer = self.out / "POPE" / "infer"
        self.evaluate = self.out / "POPE" / "evaluate"
        self.log.parent.mkdir(parents=True)
        self.log.write_text("loading\nRuntimeError: shapes differ\nthe end\n", encoding="utf-8")
        self.predict([prediction(sample) for sample in self.ids])
        self.conditions({HERE: conditions()})
        self.score([score(sample, float(number < 8)) for number, sample in enumerate(self.ids)])
        self.result("infer")
        self.result("evaluate", metrics=[{"id": "accuracy", "value": 80.0, "n": 10}], judge="exact_matching")

    def predict(self, rows: Sequence[dict[str, Any]]) -> None:
        write_lines(self.infer / "predictions.jsonl", rows)

    def conditions(self, known: dict[str, dict[str, Any]]) -> None:
        (self.infer / "conditions.json").write_text(json.dumps(known), encoding="utf-8")

    def fail(self, *samples: str, **changes: Any) -> None:
        """Let these samples fail, consistently in all files; `changes` are of their failure."""
        self.predict(
            [prediction(s, None, error=failure(**changes)) if s in samples else prediction(s) for s in self.ids]
        )
        right = [float(number < 8) for number in range(len(self.ids))]
        scores = [None if s in samples else value for s, value in zip(self.ids, right, strict=True)]
        self.score([score(s, value) for s, value in zip(self.ids, scores, strict=True)])
        given = [value for value in scores if value is not None]
        self.result("infer", n_failed=len(samples))
        metrics = [{"id": "accuracy", "value": 100 * sum(given) / len(given), "n": len(given)}]
        self.result("evaluate", metrics=metrics, n_failed=len(samples), n_units=len(given))

    def score(self, rows: Sequence[dict[str, Any]]) -> None:
        write_lines(self.evaluate / "scores.jsonl", rows)

    def result(self, kind: str, **changes: Any) -> None:
        """Write a stage's result.json."""
        path = (self.infer if kind == "infer" else self.evaluate) / "result.json"
        path.write_text(json.dumps(stage_result(kind, "POPE", self.ids, **changes)), encoding="utf-8")

    def evidence(self, outcome: Outcome | None = None, **changes: Any) -> CellEvidence:
        stages = {
            kind: StageEvidence(
                id=f"POPE/{kind}",
                folder=self.out / "POPE" / kind,
                out=self.out,
                environment="tf-4.37",
                transformers="4.37.2",
                outcome=outcome or Outcome(status=Status.OK),
                log=self.log,
            )
            for kind in ("infer", "evaluate")
        }
        plain: dict[str, Any] = {
            "root": self.root,
            "model": "llava",
            "benchmark": "POPE",
            **stages,
            "ids": frozenset(self.ids),
            "groups": frozenset(self.ids),
            "whole": False,
            "metrics": [ACCURACY],
        }
        return CellEvidence(**{**plain, **changes})


def write_runner_table(run: RunLayout, records: Sequence[Record]) -> None:
    """`<model>_results.csv` of each job, in the runner's columns."""
    columns = ["model", "benchmark", "environment", "transformers", "status", "metric", "score", "n", "n_rows"]
    columns += ["n_failed", "n_unparsed", "judge", "seconds"]
    jobs: dict[Path, list[Record]] = {}
    for one in records:
        jobs.setdefault(run.job_out(one.model, one.environment), []).append(one)
    for out, ran in jobs.items():
        out.mkdir(parents=True, exist_ok=True)
        with (out / f"{slug(ran[0].model)}_results.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            for one in ran:
                row = {name: getattr(one, name, "") for name in columns} | {"status": one.status.value}
                for said in one.metrics:
                    writer.writerow({**row, "metric": said.id, "score": said.value, "n": said.n})
