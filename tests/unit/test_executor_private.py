"""Secrets as files: who can read them, and that they are gone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.executors.private import private_folder, secret_files, sweep
from orchestrator.layout import PROJECT

HOLD = """
import sys
from pathlib import Path
from orchestrator.executors.private import secret_files
with secret_files({"TOKEN": "hunter2"}, None, Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_each_is_a_file_for_one_user_and_gone_afterwards(tmp_path: Path) -> None:
    with secret_files({"HF_TOKEN": "hunter2"}, None, tmp_path) as folder:
        assert folder is not None
        (file,) = folder.iterdir()
        assert (file.name, file.read_text()) == ("HF_TOKEN", "hunter2")
        assert stat.S_IMODE(file.stat().st_mode) == 0o400
        assert [stat.S_IMODE(place.stat().st_mode) for place in (folder, folder.parent)] == [0o700] * 2
        assert "hunter2" not in str(folder)
    assert list(tmp_path.iterdir()) == []


def test_without_secrets_there_is_no_folder(tmp_path: Path) -> None:
    with secret_files({}, None, tmp_path) as folder:
        assert folder is None
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "", ".", "a/b", "a b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a secret cannot be named"), secret_files({name: "v"}, None, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().decode().strip()).parent
        assert sweep("secrets", tmp_path) == []  # it still runs
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert sweep("secrets", tmp_path, lambda name: name == left.name) == []
        other = tmp_path / f"lockstep-secrets-1-{os.getpid()}"
        other.mkdir()
        with private_folder("secrets", tmp_path) as mine, private_folder("job", tmp_path) as job:
            assert sweep("secrets", tmp_path) == [left.name]
            assert sorted(tmp_path.iterdir()) == sorted([other, mine, job])
