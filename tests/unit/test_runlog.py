"""Plain logs: timestamps, line numbers, no secrets, no escapes."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from pathlib import Path
from threading import Thread
from urllib.parse import quote, quote_plus

import pytest

from orchestrator.runs.log import LineLog, Redaction, run_log

CLOCK = datetime(2026, 11, 21, 2, 0, 5, tzinfo=timezone.utc)


def test_every_line_has_its_time_and_its_number(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "run.log"
    with LineLog(path, clock=lambda: CLOCK) as log:
        assert log("first\nsecond") == 1
        assert log("third") == 3
    stamp = "2026-11-21T02:00:05+00:00"
    assert path.read_text() == f"{stamp} first\n{stamp} second\n{stamp} third\n"


def test_a_later_process_goes_on_with_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    path.write_text("one\ntorn")
    with LineLog(path) as log:
        assert log("three") == 3
    assert path.read_text() == "one\ntorn\nthree\n"


def test_no_secret_reaches_a_log(tmp_path: Path) -> None:
    redact = Redaction(["hf_secret", "hf_secret_longer", None, "", "abc"])
    with run_log(tmp_path / "run.log", redact=redact) as log:
        log("Authorization: Bearer hf_secret_longer, then hf_secret; abc stays")
    text = (tmp_path / "run.log").read_text()
    assert "hf_secret" not in text
    assert text.endswith("Authorization: Bearer ***, then ***; abc stays\n")


@pytest.mark.parametrize("before", ["", "a", "ab", "abc:", "user:"])
@pytest.mark.parametrize("secret", ["hf_AbCd/+=~12", "hf_1234567890", "hf_ünicode99", "12345678"])
def test_a_secret_is_found_as_programs_write_it_on(secret: str, before: str) -> None:
    redact = Redaction([secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = redact(encode(f"{before}{secret}@there".encode()).decode())
        decoded = base64.b64decode(shown.split("***")[0][: len(shown.split("***")[0]) // 4 * 4]).decode(errors="ignore")
        assert "***" in shown
        assert len(decoded) <= len(before) + 1  # at most one character shares its bits with what stands before
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        assert redact(f"https://{before}{encoded}@there/") == f"https://{before}***@there/"


def test_each_line_of_a_secret_is_one() -> None:
    redact = Redaction(["-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQE\nok\n"])
    assert redact("  MIIEvQIBADANBg") == "  ***"
    assert redact("kqhkiG9w0BAQE; ok") == "***; ok"


def test_a_secret_cut_by_colours_is_found(tmp_path: Path) -> None:
    with LineLog(tmp_path / "job.log", redact=Redaction(["hf_secret"])) as log:
        log("hf_\x1b[31msecret\x1b[0m and \x1b]0;title\x07 and \x07 bell")
    assert (tmp_path / "job.log").read_text() == "*** and  and \\x07 bell\n"


def test_lines_of_several_threads_stay_whole(tmp_path: Path) -> None:
    with LineLog(tmp_path / "job.log") as log:
        threads = [Thread(target=lambda n=n: [log(f"{n}" * 50) for _ in range(50)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "job.log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{n}" * 50 for n in range(4) for _ in range(50))
    assert log.lines == 200
