"""Job folders for the real runner in the real environments, made of the demo's models and data."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.job import BenchmarkSpec, EvaluateStage, InferStage, JobFile, MetricSpec, ModelSpec, ResultFile, Stage
from orchestrator.layout import PROJECT

DEMO = PROJECT / "demo"
VENVS = Path(os.environ.get("LOCKSTEP_VENVS", PROJECT / "cache" / "venvs"))
CHAT = "USER: <image>\n{question} ASSISTANT:"
RUNNER = ("-m", "lockstep_runner", "work/job.json")
PERCENT = {"unit": "%", "max": 100.0}


def python_of(environment: str) -> Path:
    """The environment's interpreter; the test is skipped, with the reason, where its venv was not made."""
    found = sorted(VENVS.glob(f"{environment}-*/bin/python"))
    if not found:
        pytest.skip(f"no venv of {environment} in {VENVS}: make venvs makes it")
    return found[-1]


def spec(name: str, dataset: str, kind: str, metric: str) -> BenchmarkSpec:
    """A benchmark of the demo's data folder; `name` is its file's."""
    data = DEMO / "data" / f"{name}.tsv"
    return BenchmarkSpec(
        name=name,
        dataset=dataset,
        type=kind,
        data=f"cache/data/{data.name}",
        sha256=hashlib.sha256(data.read_bytes()).hexdigest(),
        metrics=[MetricSpec.model_validate({"id": metric, **PERCENT})],
    )


def pope() -> BenchmarkSpec:
    return spec("demo_pope", "POPE", "yes_no", "f1")


def textvqa() -> BenchmarkSpec:
    return spec("demo_textvqa", "TextVQA_VAL", "vqa", "vqa_score")


def first_ids(benchmark: BenchmarkSpec, count: int) -> list[str]:
    """The first rows of the file, by its index column."""
    header, *rows = (DEMO / "data" / Path(benchmark.data).name).read_text().splitlines()
    place = header.split("\t").index("index")
    return [row.split("\t")[place] for row in rows[:count]]


def stages(benchmark: BenchmarkSpec, count: int) -> list[Stage]:
    samples, name = first_ids(benchmark, count), benchmark.name
    return [
        InferStage(id=f"{name}/infer", benchmark=benchmark, samples=samples),
        EvaluateStage(
            id=f"{name}/evaluate",
            benchmark=benchmark,
            samples=samples,
            predictions=f"work/out/{name}/infer",
            whole=False,
        ),
    ]


@dataclass
class RealJob:
    """`root/work/job.json` and links, as the executors make them."""

    root: Path
    environment: str

    @property
    def out(self) -> Path:
        return self.root / "work" / "out"

    def write(self, model: ModelSpec, *todo: Stage) -> None:
        job = JobFile(
            run_id="r",
            key=f"{model.name}@{self.environment}",
            environment=self.environment,
            transformers="?",
            model=model,
            stages=[*todo],
        )
        self.out.mkdir(parents=True, exist_ok=True)
        (self.root / "work" / "job.json").write_text(job.model_dump_json())
        for name in ("models", "hub", "data"):
            link = self.root / "cache" / name
            link.parent.mkdir(exist_ok=True)
            if not link.exists():
                link.symlink_to(DEMO / name)

    def start(self, *arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The runner as a process with nothing of the caller's environment but what an executor gives.

        `before` are words that start it, like `unshare -rm`.
        """
        tmp = self.root / "tmp"
        tmp.mkdir(exist_ok=True)
        given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp), "TMPDIR": str(tmp), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*before, str(python_of(self.environment)), *arguments],
            cwd=self.root,
            env={**given, "PYTHONPATH": str(PROJECT / "runner"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, before: Sequence[str] = ()) -> tuple[int, str]:
        """Exit code and everything printed."""
        with self.start(*(arguments or RUNNER), before=before) as process:
            printed, _ = process.communicate()
        return process.returncode, printed

    def result(self, stage: str) -> ResultFile:
        return ResultFile.model_validate_json((self.out / stage / "result.json").read_text())

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]
