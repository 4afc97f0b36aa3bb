"""live.json, and what is seen of runs through it: from files alone, while they go, after they were killed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from orchestrator.claims.claims import Blocked, Held, make_mark
from orchestrator.claims.process import Life, Process, terminate, this_process
from orchestrator.errors import LockstepError, UsageError
from orchestrator.executors.fake import OK
from orchestrator.executors.protocol import Job, Outcome, Status
from orchestrator.layout import Mount, RunLayout
from orchestrator.runs import watching
from orchestrator.runs.live import Live, is_alive, process_of, read_live
from orchestrator.runs.watching import JobLog, follow, logs_of, over, runs_in, view_run
from orchestrator.scheduling.schedule import Finished, Planned, Started, Waiting
from orchestrator.terminal.status import print_log_line, print_runs
from orchestrator.terminal.style import make_console
from tests.unit.test_schedule import gpu

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    return RunLayout(root=tmp_path / "20261121-0200")


def planned(run: RunLayout, model: str, environment: str = "tf-4.37", after: tuple[str, ...] = ()) -> Planned:
    """A job with its job.json, as a run writes it."""
    key = f"{model}@{environment}"
    folder = run.job_folder(key)
    (folder / "work").mkdir(parents=True)
    content = {"key": key, "environment": environment, "model": {"name": model}}
    (folder / "work" / "job.json").write_text(json.dumps(content))
    out = run.job_out(model, environment)
    out.mkdir(parents=True)
    mounts = (Mount(source=out, target="work/out", writable=True),)
    return Planned(
        job=Job(key=key, run_id=run.root.name, environment=environment, folder=folder, mounts=mounts), after=after
    )


def events(one: Planned, *lines: str) -> None:
    path = one.job.out / "events.jsonl"
    path.write_text("".join(lines))
    os.utime(path, (NOON.timestamp() - 3, NOON.timestamp() - 3))


def begun(run: RunLayout, *jobs: Planned) -> Live:
    live = Live(run, clock=lambda: NOON.replace(hour=11))
    live.begin(jobs)
    return live


def held(run: RunLayout, by: str) -> Held:
    mark = make_mark(run_id=by, folder=run.root, project="p")
    return Held(blocked=(Blocked(path=Path("/locks/ab.lock"), state="held", holder=mark),))


def view(run: RunLayout) -> watching.RunView:
    live = read_live(run)
    assert live is not None
    return view_run(run, live, now=NOON.timestamp)


def shown(run: RunLayout, *, whole: bool = False) -> str:
    file = io.StringIO()
    print_runs([view(run)], whole=whole, console=make_console(file, width=200))
    return file.getvalue()


def dead() -> Process:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return replace(this_process(), pid=process.pid, start="1")


def kill(run: RunLayout) -> None:
    """As if its orchestrator had been killed."""
    content = json.loads(run.live.read_bytes())
    content["process"]["pid"], content["process"]["start"] = dead().pid, "1"
    run.live.write_text(json.dumps(content))


def test_a_run_at_work_from_its_first_to_its_last_event(run: RunLayout) -> None:
    one, two = planned(run, "llava"), planned(run, "qwen", after=("llava@tf-4.37",))
    live = begun(run, one, two)
    assert [(j.key, j.state, j.waits_for) for j in view(run).jobs] == [
        ("llava@tf-4.37", "waiting", ""),
        ("qwen@tf-4.37", "waiting", "after llava@tf-4.37"),
    ]
    live.event(Waiting(planned=one, held=held(run, "other")))
    assert view(run).jobs[0].waits_for.startswith("held by run other of ")
    live.event(Started(planned=one, gpus=(gpu(0), gpu(3))))
    events(one, '{"phase": "infer", "stage": "ChartQA/infer", "sample": "412", "done": 7, "total": 10}\n', '{"torn')
    job = view(run).jobs[0]
    assert (job.state, job.gpus, job.phase, job.stage, job.sample) == (
        "running",
        ("gpu0", "gpu3"),
        "infer",
        "ChartQA/infer",
        "412",
    )
    assert (job.done, job.total, job.event_seconds, job.seconds) == (7, 10, 3.0, 3600.0)
    text = shown(run)
    assert f"run 20261121-0200  at work for 01:00 (pid {os.getpid()} of " in text
    assert "gpu0,gpu3  llava@tf-4.37  infer ChartQA 7/10, sample 412  for 01:00  last event 3s ago" in text
    live.event(Finished(planned=one, outcome=OK))
    live.event(Finished(planned=two, outcome=Outcome(status=Status.FAILED, reason="ValueError: no")))
    assert "2 of 2 jobs have ended: 1 ok, 1 failed" in shown(run)
    assert "ValueError: no" in shown(run, whole=True)
    assert read_live(run) is not None
    live.end(1)
    assert "has ended, exit code 1" in shown(run)
    assert runs_in(run.root.parent) == ([], [])


def test_what_was_killed_says_how_to_go_on_and_what_it_was_at(run: RunLayout) -> None:
    one = planned(run, "llava")
    live = begun(run, one)
    live.event(Started(planned=one, gpus=()))
    assert is_alive(read_live(run) or pytest.fail("no live.json"))
    kill(run)
    (found,), problems = runs_in(run.root.parent)
    assert (found.state, problems) == ("died", [])
    assert found.hint == f"python run_matrix.py resume 20261121-0200 --output-root {run.root.parent}"
    text = shown(run)
    assert "did not end (killed, or it broke off)" in text
    cancel = f"python run_matrix.py cancel 20261121-0200 --output-root {run.root.parent}"
    assert f"its container may still be at work: resume attaches, cancel stops it: {cancel}" in text
    live.event(Finished(planned=one, outcome=OK))
    kill(run)
    text = shown(run)
    assert f"go on: {found.hint}" in text
    assert "its container may" not in text  # each job of it had its end


def test_another_machines_run_is_not_judged(run: RunLayout) -> None:
    begun(run)
    content = json.loads(run.live.read_bytes())
    content["process"]["host"], content["process"]["boot"] = "node9", "other"
    run.live.write_text(json.dumps(content))
    assert view(run).state == "elsewhere"
    assert "on node9, which cannot be looked at from here" in shown(run)


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 2}', "[1]", "\x00"])
def test_a_broken_live_json_is_one_line_and_hides_no_other_run(run: RunLayout, content: str) -> None:
    begun(run)
    other = RunLayout(root=run.root.parent / "broken")
    other.root.mkdir()
    other.live.write_text(content)
    with pytest.raises(LockstepError, match="is not what this Lockstep writes"):
        read_live(other)
    views, problems = runs_in(run.root.parent)
    assert [v.run for v in views] == [run.root.name]
    assert len(problems) == 1
    assert "python run_matrix.py report broken" in problems[0]


def test_no_live_json_is_none(run: RunLayout) -> None:
    assert read_live(run) is None
    assert runs_in(run.root) == ([], [])


def test_a_full_disk_costs_the_view_and_not_the_run(run: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    live = begun(run)
    monkeypatch.setattr("orchestrator.runs.live.replace_file", full)
    live.end(0)


@pytest.mark.parametrize(
    "plant",
    [
        '{"phase": "\\u001b[31mred", "stage": "x\\n\\u202ey/infer", "sample": {"a": 1}, "done": "7", "total": true}\n',
        "[]\n",
        "\xff\xfe\n",
        "[" * 60_000 + "\n",
    ],
)
def test_what_jobs_write_is_shown_and_not_obeyed(run: RunLayout, plant: str) -> None:
    one = planned(run, "llava")
    begun(run, one).event(Started(planned=one, gpus=()))
    events(one, plant)
    assert all(character.isprintable() or character == "\n" for character in shown(run))


def test_a_link_in_place_of_the_events_is_not_followed(run: RunLayout, tmp_path: Path) -> None:
    one = planned(run, "llava")
    begun(run, one).event(Started(planned=one, gpus=()))
    secret = tmp_path / "secret"
    secret.write_text('{"phase": "hf_secret"}\n')
    (one.job.out / "events.jsonl").symlink_to(secret)
    assert "hf_secret" not in shown(run)


def test_logs_are_those_of_a_models_jobs(run: RunLayout) -> None:
    for model, environment in (("llava", "tf-4.37"), ("llava", "tf-4.42"), ("llava2", "tf-4.37")):
        planned(run, model, environment)
    assert [log.key for log in logs_of(run, "llava", None)] == ["llava@tf-4.37", "llava@tf-4.42"]
    assert [log.path for log in logs_of(run, "llava", "tf-4.42")] == [run.job_log("llava@tf-4.42")]
    with pytest.raises(UsageError, match="no job of a model 'lava'; did you mean 'llava'"):
        logs_of(run, "lava", None)
    with pytest.raises(UsageError, match=r"no job in 'tf-9'; it has in tf-4\.37, tf-4\.42"):
        logs_of(run, "llava", "tf-9")


@pytest.fixture
def log(run: RunLayout, monkeypatch: pytest.MonkeyPatch) -> JobLog:
    monkeypatch.setattr(watching, "FOLLOW_SECONDS", 0)
    return JobLog(key="a", path=run.root / "a.log")


def texts(lines: Iterator[tuple[JobLog, str]]) -> list[str]:
    return [line for _, line in lines]


@pytest.mark.parametrize(
    ("last", "expected"), [(None, ["1", "2", "3"]), (2, ["2", "3"]), (0, []), (9, ["1", "2", "3"])]
)
def test_the_last_lines_of_a_log(run: RunLayout, log: JobLog, last: int | None, expected: list[str]) -> None:
    assert texts(follow([log], last, lambda: True)) == []
    run.root.mkdir()
    log.path.write_text("1\n2\n3\n")
    assert texts(follow([log], last, lambda: True)) == expected


def test_following_gives_what_comes_until_the_end(run: RunLayout, log: JobLog) -> None:
    run.root.mkdir()
    pieces = iter(["", "1\n2", "\n", "3\n4\n"])

    def ended() -> bool:
        piece = next(pieces, None)
        with log.path.open("a") as file:
            file.write("5\n" if piece is None else piece)
        return piece is None

    assert texts(follow([log], 1, ended)) == ["1", "2", "3", "4", "5"]


def test_a_log_is_over_when_its_jobs_are_or_nobody_is_at_work(run: RunLayout) -> None:
    one, two = planned(run, "llava"), planned(run, "qwen")
    assert over(run, [])
    live = begun(run, one, two)
    logs = logs_of(run, "llava", None)
    assert not over(run, logs)
    live.event(Finished(planned=one, outcome=OK))
    assert over(run, logs)
    assert not over(run, logs_of(run, "qwen", None))
    kill(run)
    assert over(run, logs_of(run, "qwen", None))


def test_a_line_of_a_log_is_safe_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_log_line("a\x1b]0;title\x07b\u202ec")
    assert capsys.readouterr().out == "a\\x1b]0;title\\x07b\\u202ec\n"


def test_a_process_is_itself_and_no_other() -> None:
    mine = this_process()
    assert mine.life is Life.ALIVE
    assert replace(mine, start="1").life is Life.DEAD
    assert replace(mine, boot="before").life is Life.DEAD
    assert replace(mine, boot="x", host="node9").life is Life.ELSEWHERE
    assert replace(mine, host="container").life is Life.ELSEWHERE
    assert dead().life is Life.DEAD


def test_only_the_very_process_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        theirs = replace(this_process(), pid=process.pid, start=stat[19])
        with pytest.raises(ProcessLookupError):
            terminate(replace(theirs, start="1"))
        assert process.poll() is None
        terminate(theirs)
        assert theirs.life is Life.DEAD
        assert process.wait() == -15
    with pytest.raises(ProcessLookupError):
        terminate(theirs)


def test_live_names_this_process(run: RunLayout) -> None:
    begun(run)
    live = read_live(run)
    assert live is not None
    assert process_of(live) == this_process()
