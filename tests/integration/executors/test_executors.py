"""The contract of every executor, checked against the real thing."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import LockstepError
from orchestrator.executors.lines import LINE_LIMIT
from orchestrator.executors.protocol import Needs, Status, Stop
from tests.integration.executors.conftest import Bench

LOG = "logs/llava@tf-4.37.log"


def read(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


def alive(pid: int) -> bool:
    """A process that ended and that nobody has collected yet does not count."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_sees_its_tree_and_leaves_files_of_the_caller(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_SECRET", "hunter2")
    job = bench.job("look")
    outcome = bench.run(job)
    assert (outcome.status, outcome.reason) == (Status.OK, "")
    seen = read(job.out / "look.json")
    assert isinstance(seen, dict)
    assert seen["job"] == {"key": "value"}
    assert seen["input"] == "from an earlier stage"
    assert seen["user"] == "lockstep"
    assert seen["ran"] == "ran"  # a program on the scratch folder can be executed
    assert "PLANTED_SECRET" not in seen["environ"]
    assert seen["environ"].get("CUDA_VISIBLE_DEVICES", "") == ""
    assert {p.stat().st_uid for p in (job.out, job.out / "look.json")} == {os.getuid()}


def test_leaves_no_trace_in_the_job_folder(bench: Bench) -> None:
    job = bench.job("look")
    bench.run(job)
    assert sorted(p.name for p in (job.folder / "work").rglob("*")) == ["job.json"]


def test_non_zero_exit_without_explanation_is_failed_with_the_last_line(bench: Bench) -> None:
    outcome = bench.run(bench.job("fail", "3"))
    assert (outcome.status, outcome.reason) == (Status.FAILED, "runner died: exit 3: last words")
    assert outcome.where == f"{LOG}:2"
    assert bench.lines == ["one", "last words"]


def test_the_runners_own_error_file_says_why(bench: Bench) -> None:
    outcome = bench.run(bench.job("explain", "model"))
    assert outcome.status is Status.FAILED
    assert outcome.reason == "ValueError: no such image (in infer, sample 17, model.py:33)"
    assert outcome.where == f"{LOG}:2"


def test_out_of_memory_said_by_the_runner_is_oom(bench: Bench) -> None:
    assert bench.run(bench.job("explain", "oom")).status is Status.OOM


def test_an_earlier_attempts_error_file_explains_nothing(bench: Bench) -> None:
    job = bench.job("fail", "1")
    bench.run(bench.job("explain", "oom"))
    assert (job.out / "error.json").exists()
    assert bench.run(job).reason == "runner died: exit 1: last words"


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_an_earlier_attempt_put_in_its_place_is_gone_too(bench: Bench, kind: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept", encoding="utf-8")
    job = bench.job("fail", "1")
    error = job.out / "error.json"
    if kind == "folder":
        (error / "deep").mkdir(parents=True, mode=0o500)
    else:
        error.symlink_to(kept)
    assert bench.run(job).reason == "runner died: exit 1: last words"
    assert not os.path.lexists(error)
    assert kept.read_text(encoding="utf-8") == "kept"


def test_timeout_stops_it_and_keeps_what_it_wrote(bench: Bench) -> None:
    job = bench.job("sleep")
    outcome = bench.run(job, needs=Needs(timeout_seconds=2))
    assert outcome.status is Status.TIMEOUT
    assert outcome.reason == "not finished after 2 s; last seen in infer, POPE/infer, sample 412"
    assert read(job.out / "partial.json") == {"done": 1}
    assert (job.out / "partial.json").stat().st_uid == os.getuid()
    assert bench.leftovers() == []


def test_one_that_ignores_sigterm_is_killed(bench: Bench) -> None:
    outcome = bench.run(bench.job("deaf"), on="ready")
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, "interrupted")
    assert outcome.conditions["exit_code"] == 128 + signal.SIGKILL
    assert bench.leftovers() == []


def test_stop_ends_a_running_job(bench: Bench) -> None:
    outcome = bench.run(bench.job("sleep"), on="ready")
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, "interrupted")
    assert outcome.conditions["exit_code"] == 128 + signal.SIGTERM
    assert bench.leftovers() == []


def test_stop_that_came_before_starts_nothing(bench: Bench) -> None:
    stop = Stop()
    stop.set()
    job = bench.job("look")
    assert bench.run(job, stop=stop).reason == "interrupted"
    assert list(job.out.iterdir()) == []


def test_killed_from_outside_is_infra(bench: Bench) -> None:
    outcome = bench.run(bench.job("kill"))
    assert outcome.status is Status.INFRA
    assert outcome.reason.startswith("killed from outside (137 SIGKILL)")


def test_output_is_cut_into_safe_lines(bench: Bench) -> None:
    assert bench.run(bench.job("shout")).status is Status.OK
    progress, colour, long, last = bench.lines
    assert (progress, colour, last) == ("100%", "red \N{REPLACEMENT CHARACTER}", "no end")
    assert len(long) < LINE_LIMIT + 100


def test_children_end_with_the_job(bench: Bench) -> None:
    job = bench.job("orphan")
    assert bench.run(job).status is Status.OK
    if not bench.executor.isolated:  # its number means nothing outside a container, which is gone as a whole
        child = read(job.out / "child.json")
        assert isinstance(child, int)
        assert not alive(child)


def test_a_log_that_cannot_be_written_is_an_exception_and_leaves_nothing(bench: Bench) -> None:
    def full(line: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(LockstepError, match=r"its log cannot be written.*No space left"):
        bench.executor.run(bench.job("sleep"), needs=Needs(), stop=Stop(), log=full)
    assert bench.leftovers() == []


def test_a_mount_that_is_missing_is_infra_and_names_it(bench: Bench) -> None:
    job = bench.job("look")
    missing = next(m.source for m in job.mounts if m.target == "work/in/first")
    (missing / "input.txt").unlink()
    missing.rmdir()
    outcome = bench.run(job)
    assert outcome.status is Status.INFRA
    assert str(missing) in outcome.reason
    assert not missing.exists()
    assert bench.leftovers() == []


def test_two_jobs_run_side_by_side(bench: Bench) -> None:
    stop = Stop()
    both = threading.Barrier(2, action=stop.set)

    def log(line: str) -> None:
        if line == "ready":
            both.wait(timeout=120)

    jobs = [bench.job("sleep", key=key) for key in ("a", "b")]
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(bench.executor.run, job, needs=Needs(), stop=stop, log=log) for job in jobs]
    assert [f.result().reason for f in futures] == ["interrupted"] * 2


def test_close_ends_what_runs(bench: Bench) -> None:
    def log(line: str) -> None:
        if line == "ready":
            threading.Thread(target=bench.executor.close).start()

    outcome = bench.executor.run(bench.job("sleep"), needs=Needs(), stop=Stop(), log=log)
    assert outcome.status is Status.INFRA
    assert bench.leftovers() == []


def test_describe_gives_provenance(bench: Bench) -> None:
    bench.executor.prepare("tf-4.37")
    described = bench.executor.describe("tf-4.37")
    assert set(described) == {"image", "image_tag", "lock", "environment_digest"}
    assert (described["image"] is None) is (bench.executor.name == "venv")
    executor: Any = bench.executor
    assert executor.engine["kind"] == bench.executor.name
    assert not any("/" in str(value) for value in executor.engine.values())
