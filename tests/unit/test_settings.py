"""`.env`: who wins, what is refused, what relative paths mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.settings import secret_values, settings


def write_env(root: Path, text: str, mode: int = 0o600) -> None:
    file = root / ".env"
    file.write_text(text)
    file.chmod(mode)


def test_process_wins_over_file_and_empty_lines_count_as_unset(tmp_path: Path) -> None:
    write_env(tmp_path, "HF_TOKEN=from-file\nHF_HOME=\nLMUData=data\n")
    values = settings(tmp_path, {"HF_TOKEN": "from-process"})
    assert values["HF_TOKEN"] == "from-process"
    assert "HF_HOME" not in values
    assert values["LMUData"] == str(tmp_path / "data")


def test_older_token_name_serves_too(tmp_path: Path) -> None:
    write_env(tmp_path, "HUGGING_FACE_HUB_TOKEN=old-name\n")
    values = settings(tmp_path, {})
    assert values["HF_TOKEN"] == "old-name"
    assert secret_values(values) == ("old-name", "old-name")


def test_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    write_env(tmp_path, "HF_TOKEN=x\n", mode=0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        settings(tmp_path, {})


def test_no_file_is_fine(tmp_path: Path) -> None:
    assert settings(tmp_path, {"A": "1"}) == {"A": "1"}
