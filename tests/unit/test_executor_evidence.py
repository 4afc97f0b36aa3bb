"""From evidence to outcome, and from bytes to lines."""

from __future__ import annotations

import json
import os
import re
import shutil
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from orchestrator.executors.ending import Ended, forget_error, judge
from orchestrator.executors.lines import LINE_LIMIT, Lines
from orchestrator.executors.protocol import Job, Log, Mount, Needs, Outcome, Status
from orchestrator.executors.pulse import Limit, Pulse

FAILURE = {"kind": "model", "type": "ValueError", "message": "bad\n value", "where": "m.py:3", "phase": "load"}


LATE = Limit(which="not finished after 90 s")


def job_in(out: Path) -> Job:
    mounts = (Mount(source=out, target="work/out", writable=True),)
    return Job(key="a/b@tf-4.37", run_id="r", environment="tf-4.37", folder=out, mounts=mounts)


def ended(
    out: Path,
    end: Ended,
    *,
    said: str = "",
    needs: Needs | None = None,
    log: Log = lambda line: None,
    secrets: tuple[str, ...] = (),
) -> Outcome:
    lines = Lines(log, secrets=secrets)
    lines.feed(said.encode())
    return judge(end, job=job_in(out), needs=needs or Needs(), lines=lines, pulse=Pulse(out, Needs(), adopted=True))


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (Ended(exit_code=0), Status.OK, ""),
        (Ended(exit_code=0, stopped=True), Status.OK, ""),  # it came to its end before the signal
        (Ended(exit_code=143, stopped=True), Status.SKIPPED, "interrupted"),
        (Ended(exit_code=137, limit=LATE), Status.TIMEOUT, "not finished after 90 s; its last line: words"),
        (
            Ended(exit_code=255, lost=True),
            Status.INFRA,
            "the engine ended and its containers with it; its last line: words",
        ),
        (Ended(exit_code=255), Status.FAILED, "runner died: exit 255: words"),
        (
            Ended(exit_code=137, oom_killed=True),
            Status.OOM,
            "killed by the kernel for want of memory; its last line: words",
        ),
        (Ended(exit_code=137), Status.INFRA, "killed from outside (137 SIGKILL); its last line: words"),
        (Ended(exit_code=143), Status.INFRA, "killed from outside (143 SIGTERM); its last line: words"),
        (Ended(exit_code=127), Status.INFRA, "the runner could not be started: words"),
        (Ended(exit_code=139), Status.FAILED, "runner died: exit 139 SIGSEGV: words"),
        (Ended(exit_code=250), Status.FAILED, "runner died: exit 250: words"),
    ],
)
def test_without_an_error_file(tmp_path: Path, end: Ended, status: Status, reason: str) -> None:
    outcome = ended(tmp_path, end, said="words\n")
    assert (outcome.status, outcome.reason, outcome.stage) == (status, reason, "")
    assert (outcome.where == "") is (status is Status.OK)
    assert ended(tmp_path, end).where == ""  # an empty log shows nothing


@pytest.mark.parametrize(
    ("kind", "status"),
    [("model", Status.FAILED), ("data", Status.FAILED), ("oom", Status.OOM), ("interrupted", Status.INFRA)],
)
def test_the_error_file_names_the_kind(tmp_path: Path, kind: str, status: Status) -> None:
    (tmp_path / "error.json").write_text(json.dumps({**FAILURE, "kind": kind}), encoding="utf-8")
    outcome = ended(tmp_path, Ended(exit_code=1), said="Traceback\nValueError: bad\nbye\n")
    assert (outcome.status, outcome.reason) == (status, "ValueError: bad value (in load, m.py:3)")
    assert outcome.where.startswith("logs/a_b@tf-4.37-")
    assert outcome.where.endswith(".log:2")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "model"}', json.dumps({**FAILURE, "kind": "hunch"})])
def test_an_error_file_that_cannot_be_read_is_failed_and_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "error.json").write_text(text, encoding="utf-8")
    outcome = ended(tmp_path, Ended(exit_code=1))
    assert outcome.status is Status.FAILED
    assert outcome.reason.startswith("its error.json cannot be read: ")


def test_hostile_words_do_not_reach_the_terminal(tmp_path: Path) -> None:
    text = json.dumps({**FAILURE, "message": "\x1b[2Jgone\x07" + "x" * 5000})
    (tmp_path / "error.json").write_text(text, encoding="utf-8")
    reason = ended(tmp_path, Ended(exit_code=1)).reason
    assert reason.startswith("ValueError: gonexx")
    assert len(reason) < 400


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "error.json")
    (tmp_path / "secret").write_text('{"phase": "load"}\n', encoding="utf-8")
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "secret")
    outcome = ended(tmp_path, Ended(exit_code=137))
    assert outcome.reason == "killed from outside (137 SIGKILL); it printed nothing"


def test_the_last_event_says_where_it_was(tmp_path: Path) -> None:
    events = '{"phase": "load"}\n{"phase": "infer", "stage": "POPE/infer", "sample": "7"}\n{"phase": "inf'
    (tmp_path / "events.jsonl").write_text(events, encoding="utf-8")
    outcome = ended(tmp_path, Ended(exit_code=137, oom_killed=True))
    assert outcome.reason == "killed by the kernel for want of memory; last seen in infer, POPE/infer, sample 7"
    assert outcome.stage == "POPE/infer"


def test_secrets_are_in_no_log_and_no_reason(tmp_path: Path) -> None:
    (tmp_path / "error.json").write_text(json.dumps({**FAILURE, "message": "no access with hf_abc"}), encoding="utf-8")
    got: list[str] = []
    outcome = ended(tmp_path, Ended(exit_code=1), said="token hf_abc\n", log=got.append, secrets=("hf_abc",))
    assert got == ["token ***"]
    assert outcome.reason == "ValueError: no access with *** (in load, m.py:3)"


def test_lines_are_put_together_from_chunks() -> None:
    got: list[str] = []
    lines = Lines(got.append)
    for byte in "erste Zeile äöü\n\nzweite".encode():
        lines.feed(bytes([byte]))
    assert got == ["erste Zeile äöü", ""]
    lines.close()
    assert got == ["erste Zeile äöü", "", "zweite"]
    assert (lines.count, lines.last) == (3, "zweite")


def test_lines_keep_the_last_state_of_a_progress_bar_and_no_escapes() -> None:
    got: list[str] = []
    lines = Lines(got.append)
    lines.feed(b"1%\r2%\r3%\r\n\x1b]0;title\x07a\x1b[1;31mb\x00\tc\n")
    assert got == ["3%", "ab\tc"]


def test_lines_bound_what_has_no_end() -> None:
    got: list[str] = []
    lines = Lines(got.append)
    for _ in range(40):
        lines.feed(b"y" * 2**16)
    lines.close()
    assert len(got) == 1
    assert len(got[0]) <= LINE_LIMIT + 40


def test_lines_bound_the_whole_log_and_say_so() -> None:
    got: list[str] = []
    lines = Lines(got.append, limit=10)
    lines.feed(b"12345\n67890\nmore\nmore\n")
    assert got == ["12345", "67890", "… the job printed more than 10 characters: the rest is not kept"]


def test_lines_say_nothing_of_a_secret_in_pieces() -> None:
    got: list[str] = []
    lines = Lines(got.append, secrets=("hunter2", "hunter2-long", "x"))
    for byte in b"a hunter2-long b\nhunter2 x\n":
        lines.feed(bytes([byte]))
    assert got == ["a *** b", "*** x"]  # one of a letter or two says nothing, and is not looked for


def test_lines_find_a_secret_as_programs_write_it_on() -> None:
    got: list[str] = []
    lines = Lines(got.append, secrets=("p/ss word+1", "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----"))
    quoted = quote("p/ss word+1", safe="")
    lines.feed(f"at {quoted}\nBasic {b64encode(b'me:p/ss word+1').decode()}\nkey MIIEvQIBADAN\n".encode())
    assert got[0] == "at ***"
    assert re.fullmatch(r"Basic .{4,6}\*\*\*.{0,2}=*", got[1]), got[1]
    assert got[2] == "key ***"


def test_a_secret_at_the_cut_of_a_line_without_end_leaves_no_part_of_it() -> None:
    got: list[str] = []
    lines = Lines(got.append, secrets=("hunter2-long",))
    lines.feed(b"y" * 10 + b"hunter2-long" + b"z" * (LINE_LIMIT - 6))
    lines.close()
    assert len(got) == 1
    assert "long" not in got[0]


def test_whatever_stands_for_the_error_file_is_gone_before_the_next_start(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o750)
    (kept / "file").write_text("kept", encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    error = out / "error.json"
    assert forget_error(job_in(out)) == ""  # nothing there
    error.write_text("{}", encoding="utf-8")
    assert (forget_error(job_in(out)), os.path.lexists(error)) == ("", False)
    error.symlink_to(kept)
    assert (forget_error(job_in(out)), os.path.lexists(error)) == ("", False)
    (error / "deep" / "shut").mkdir(parents=True)
    (error / "link").symlink_to(kept)
    (error / "deep" / "shut").chmod(0)
    error.chmod(0)
    assert (forget_error(job_in(out)), os.path.lexists(error)) == ("", False)
    assert ((kept / "file").read_text(encoding="utf-8"), kept.stat().st_mode & 0o777) == ("kept", 0o750)


def test_one_that_cannot_be_removed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "error.json").mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    said = forget_error(job_in(tmp_path))
    assert said == (
        f"an earlier attempt's error.json cannot be removed (Permission denied): rm -rf {tmp_path / 'error.json'}"
    )


def test_lines_count_as_the_log_counts() -> None:
    kept = ["from an earlier attempt"]

    def log(line: str) -> int:
        kept.append(line)
        return len(kept)

    lines = Lines(log)
    lines.feed(b"a\nneedle\nb\n")
    assert (lines.number_of("needle"), lines.number_of("absent"), lines.number_of()) == (3, 4, 4)
