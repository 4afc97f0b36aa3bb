"""What the machine does to the runner: a full disk, a clock that jumps, a parent that dies."""

from __future__ import annotations

import datetime
import errno
import io
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lockstep_runner import files
from lockstep_runner.job import EXIT_DISK
from lockstep_runner.parent import VARIABLE

from orchestrator.job import Failure
from orchestrator.layout import PROJECT
from tests.unit.runner_fakes import House, evaluate, house, infer, raises


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return house(tmp_path, monkeypatch)


def full_for(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """From now on there is no room in files of these names, nor for new ones with them."""
    append, replace = files.LineFile._write, files.write_lines

    def write(self: files.LineFile, line: bytes) -> None:
        if self._path.name in names:
            self._file.write(line[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, line)

    def write_lines(path: Path, lines: Iterator[str]) -> None:
        if path.name in names:
            raise files.DiskError(f"{path}: No space left on device")
        replace(path, lines)

    monkeypatch.setattr(files.LineFile, "_write", write)
    monkeypatch.setattr(files, "write_lines", write_lines)


@pytest.mark.parametrize("name", ["predictions.jsonl", "conditions.json", "result.json", "events.jsonl"])
def test_a_full_disk_ends_the_job_as_the_machines_fault_and_leaves_nothing_half(place: House, name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        full_for(patch, name)
        assert place.run(infer(), evaluate()) == EXIT_DISK
    said = Failure.model_validate(place.json("error.json"))
    assert (said.kind, said.type) == ("disk", "DiskError")
    assert said.message.endswith(f"{name}: No space left on device")
    asked = len(place.model.asked)
    assert place.run(infer(), evaluate()) == 0
    assert [line["id"] for line in place.lines("B/infer/predictions.jsonl")] == ["s0", "s1", "s2", "s3"]
    assert len(place.model.asked) - asked == (4 if name != "result.json" else 0)
    assert place.json("B/evaluate/result.json")["status"] == "ok"


def test_a_disk_too_full_for_the_error_file_leaves_exit_code_and_last_line(
    place: House, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        full_for(patch, "predictions.jsonl", "error.json", "result.json")
        assert place.run(infer()) == EXIT_DISK
    assert not (place.out / "error.json").exists()
    assert "predictions.jsonl: No space left on device" in capsys.readouterr().err.splitlines()[-1]


def test_an_output_folder_that_cannot_be_written_is_the_disks_fault(place: House) -> None:
    (place.root / "work").mkdir()
    place.out.write_text("a file in its place")
    assert place.run(infer()) == EXIT_DISK


def test_a_clock_that_jumps_back_changes_no_number(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
    times = iter(noon - datetime.timedelta(hours=hours) for hours in range(1000))

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(next(times).timestamp(), tz)

    monkeypatch.setattr("lockstep_runner.events.datetime.datetime", Clock)
    monkeypatch.setattr("time.time", lambda: next(times).timestamp())
    assert place.run(infer(), evaluate()) == 0
    seen = place.lines("events.jsonl")
    assert [event["seq"] for event in seen] == list(range(len(seen)))
    assert sorted((event["time"] for event in seen), reverse=True) == [event["time"] for event in seen]
    stages = [place.json(f"B/{stage}/result.json") for stage in ("infer", "evaluate")]
    assert all(0 <= said["seconds"] < 60 for said in [*stages, *place.lines("B/infer/predictions.jsonl")])
    assert 0 <= stages[0]["load_seconds"] < 60


# A parent that starts the runner as the venv executor does, says the child's number, and waits for a line.
PARENT = """
import os, subprocess, sys
runner = subprocess.Popen(
    [sys.executable, "-m", "lockstep_runner", "work/job.json"], start_new_session=True, cwd=sys.argv[1],
    env={**os.environ, "LOCKSTEP_PARENT": str(os.getpid())},
)
print(runner.pid, flush=True)
sys.stdin.readline()
"""


def environ() -> dict[str, str]:
    return {"PATH": os.defpath, "PYTHONPATH": str(PROJECT / "runner"), "TMPDIR": "/tmp", "HOME": "/tmp"}


def test_a_job_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Reading job.json, a pipe that nobody writes, the runner waits: alive, and in nobody's hands but its parent's."""
    job = tmp_path / "work" / "job.json"
    job.parent.mkdir()
    os.mkfifo(job)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        runner = int(parent.stdout.readline())
        ended = os.pidfd_open(runner)
        with job.open("wb"):  # opens as soon as the runner reads, which it does after it has asked
            parent.kill()
            assert select.select([ended], [], [], 60)[0], "the runner outlived its parent"
        os.close(ended)


def test_a_job_whose_parent_is_gone_already_ends_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lockstep_runner", "work/job.json"]
    dead = {**environ(), VARIABLE: "1"}
    done = subprocess.run(command, env=dead, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")


def test_the_variable_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os; from lockstep_runner.parent import end_with_parent; print(end_with_parent(), sorted(os.environ))"
    env = {**environ(), VARIABLE: str(os.getpid())}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True")
    assert VARIABLE not in done.stdout


class Gone(io.TextIOBase):
    """A pipe whose reader was killed."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_log_that_nobody_reads_any_more_changes_nothing(place: House) -> None:
    place.model.answers["s1"] = raises(ValueError("broken"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", Gone())
        assert place.run(infer(), evaluate()) == 0
        place.model.load_error = ValueError("also broken")
        assert place.run(infer("C")) == 1
    assert place.json("B/evaluate/result.json")["status"] == "ok"
    assert place.json("error.json")["message"] == "also broken"
