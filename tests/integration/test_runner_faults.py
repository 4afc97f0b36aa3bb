"""The runner in a real environment with a model that fails on purpose: what is lost, and what is said."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.job import Conditions, Failure, ModelSpec
from orchestrator.layout import ProjectLayout
from orchestrator.planning.versions import adapter_version, scorer_name
from tests.conftest import Tally
from tests.fixtures import faulty_model
from tests.integration.command import mounted
from tests.integration.runner_jobs import RUNNER, RealJob, pope, stages

pytestmark = pytest.mark.venv

INFER = "demo_pope/infer"


def faulty(root: Path, environment: str = "tf-4.37", **faults: Any) -> RealJob:
    """A job of five samples."""
    faulty_model.make(root / "cache/models/faulty", **faults)
    job = RealJob(root, environment)
    write(job)
    return job


def write(job: RealJob, **changes: Any) -> None:
    model = ModelSpec(name="faulty", adapter="remote-code", path="cache/models/faulty", trust_remote_code=True)
    job.write(model.model_copy(update=changes), *stages(pope(), 5))


def heal(job: RealJob, **faults: Any) -> None:
    faulty_model.set_faults(job.root / "cache/models/faulty", **faults)


def answers(job: RealJob) -> dict[str, str]:
    return {line["id"]: line["answer"] for line in job.lines(f"{INFER}/predictions.jsonl")}


def asked(job: RealJob) -> list[str]:
    """The samples in the order in which they were given to the model."""
    return [e["sample"] for e in job.lines("events.jsonl") if e["phase"] == "infer" and e["sample"]]


def error(job: RealJob) -> Failure:
    return Failure.model_validate_json((job.out / "error.json").read_text())


@pytest.mark.parametrize("environment", ["tf-4.33", "tf-4.37", "tf-4.42"])
def test_without_faults_it_answers_in_every_environment(tmp_path: Path, environment: str) -> None:
    job = faulty(tmp_path, environment)
    code, printed = job.run()
    assert code == 0, printed
    assert len(answers(job)) == 5
    assert set(answers(job).values()) <= {"Yes", "No"}
    inferred, scored = job.result(INFER), job.result("demo_pope/evaluate")
    assert scored.status == "ok"
    # what the host says before a start is what the runner says after it
    locks = ProjectLayout().locks
    assert (inferred.adapter, scored.scorer) == (
        adapter_version("remote-code"),
        scorer_name("vlmevalkit", locks, environment),
    )
    (conditions,) = json.loads((job.out / INFER / "conditions.json").read_text()).values()
    assert Conditions.model_validate(conditions).versions == inferred.versions
    assert inferred.versions.environment_digest is not None


@pytest.mark.fault
def test_no_gpu_memory_unless_it_is_asked_one_by_one(tmp_path: Path) -> None:
    job = faulty(tmp_path, oom_at=2)
    code, printed = job.run()
    said = error(job)
    assert (code, said.kind, said.type, said.phase) == (1, "oom", "OutOfMemoryError", "generate"), printed
    assert len(answers(job)) == 2
    write(job, batch_size=1)
    assert job.run()[0] == 0
    conditions = json.loads((job.out / INFER / "conditions.json").read_text())
    sizes = [conditions[line["conditions"]]["batch_size"] for line in job.lines(f"{INFER}/predictions.jsonl")]
    assert sizes == [None, None, 1, 1, 1]
    assert job.result("demo_pope/evaluate").status == "ok"


@pytest.mark.fault
@pytest.mark.parametrize(
    ("fault", "kind"), [("device_lost_at", "device"), ("raise_at", "model"), ("no_text_at", "model")]
)
def test_only_a_failure_of_the_model_is_a_failed_sample(tmp_path: Path, fault: str, kind: str) -> None:
    faults: dict[str, Any] = {fault: 2}
    job = faulty(tmp_path, **faults)
    code, printed = job.run()
    lines = job.lines(f"{INFER}/predictions.jsonl")
    if kind == "model":
        assert [line["error"] and line["error"]["kind"] for line in lines] == [None, None, "model", None, None], printed
        return
    assert (code, error(job).kind, len(lines)) == (1, kind, 2), printed


@pytest.mark.fault
def test_after_an_end_without_a_word_only_what_was_in_flight_is_asked_again(tmp_path: Path, tally: Tally) -> None:
    job = faulty(tmp_path, exit_at=3, exit_code=9)
    code, _ = job.run()
    assert (code, len(answers(job))) == (9, 3)
    before = (job.out / INFER / "predictions.jsonl").read_text()
    heal(job)
    assert job.run()[0] == 0
    assert (job.out / INFER / "predictions.jsonl").read_text().startswith(before)
    again = asked(job)
    tally(samples=5, lost=5 - len(answers(job)), twice=max(0, len(again) - len(set(again)) - 1))


@pytest.mark.fault
@pytest.mark.parametrize(("faults", "phase"), [({"hang_in_load": True}, "load"), ({"hang_at": 1}, "infer")])
def test_a_hang_names_its_phase_and_its_sample_and_loses_nothing(
    tmp_path: Path, faults: dict[str, Any], phase: str, tally: Tally
) -> None:
    job = faulty(tmp_path, **faults, deaf=True)
    events = job.out / "events.jsonl"
    last = '"done": 1' if phase == "infer" else '"load"'
    with job.start(*RUNNER) as process:
        while process.poll() is None and not (events.exists() and last in events.read_text()):
            time.sleep(0.02)
        process.kill()
        printed, _ = process.communicate()
    assert process.returncode == -9, printed
    seen = job.lines("events.jsonl")[-1]
    assert (seen["phase"], seen["sample"] is not None) == (phase, phase == "infer")
    heal(job)
    assert job.run()[0] == 0
    again, in_flight = asked(job), int(phase == "infer")
    tally(samples=5, lost=5 - len(answers(job)), twice=max(0, len(again) - len(set(again)) - in_flight))


FULL = """
fallocate -l 984k work/out/filler
"$@"; echo "code $?"
cp -r work/out full
rm work/out/filler
"$@"; echo "code $?"
cp -r work/out room
"""


@pytest.mark.fault
def test_a_full_disk_is_said_and_what_was_written_is_taken_over(tmp_path: Path, tally: Tally) -> None:
    job = faulty(tmp_path, run="said = 'x' * 9000")
    job.out.mkdir(parents=True, exist_ok=True)
    _, printed = job.run(*RUNNER, before=[*mounted(job.out, "-o size=1m"), "sh", "-c", FULL, "-"])
    assert [line for line in printed.splitlines() if line.startswith("code ")] == ["code 74", "code 0"], printed
    assert "predictions.jsonl: No space left on device" in printed
    for folder in ("full", "room"):
        text = (tmp_path / folder / INFER / "predictions.jsonl").read_text()
        assert all(json.loads(line)["answer"] == "x" * 9000 for line in text.splitlines())
    first, both = ((tmp_path / name / INFER / "predictions.jsonl").read_text() for name in ("full", "room"))
    assert 0 < first.count("\n") < 5
    tally(samples=5, lost=5 - both.count("\n"), twice=0 if both.startswith(first) else first.count("\n"))


def test_a_models_own_source_is_there_for_its_code_and_its_processes(tmp_path: Path) -> None:
    child = "subprocess.run([sys.executable, '-c', 'import its_own; print(its_own.SAID)'], capture_output=True)"
    job = faulty(tmp_path, run=f"import its_own, subprocess, sys; said = its_own.SAID + {child}.stdout.decode()")
    source = tmp_path / "cache/sources/its-own-1.0"
    (source / "its_own").mkdir(parents=True)
    (source / "its_own/__init__.py").write_text("SAID = 'source'")
    code = tmp_path / "cache/models/faulty/faulty.py"
    code.write_text(code.read_text() + "\nimport its_own  # as modeling code does\n")
    assert job.run()[0] == 1
    write(job, sources=["cache/sources/its-own-1.0"])
    done, printed = job.run()
    assert done == 0, printed
    assert set(answers(job).values()) == {"sourcesource\n"}
