"""What a person sets for this machine: `.env` in the project's root under the process's own environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.layout import PROJECT

SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY")
_MEANT_EMPTY = ("CUDA_VISIBLE_DEVICES",)  # empty: no GPU
_PATHS = ("HF_HOME", "HF_HUB_CACHE", "LMUData")


def settings(root: Path = PROJECT, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Names and values: the process's environment wins over `.env`; empty values count as not set.

    Relative paths are taken from `root`. Raises UsageError for a `.env` that others can read, or that cannot be read.
    """
    process = dict(os.environ if environ is None else environ)
    values = _dotenv(root / ".env") | {name: value for name, value in process.items() if value or name in _MEANT_EMPTY}
    for name in _PATHS:
        if values.get(name):
            values[name] = str(root / Path(values[name]).expanduser())
    if not values.get("HF_TOKEN") and values.get("HUGGING_FACE_HUB_TOKEN"):
        values["HF_TOKEN"] = values["HUGGING_FACE_HUB_TOKEN"]
    return values


def _dotenv(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    from dotenv import dotenv_values

    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{path} holds secrets and others can read it: chmod 600 {path}")
    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return {name: value for name, value in values.items() if value}


def secret_values(values: Mapping[str, str]) -> tuple[str, ...]:
    """The values that no log line may show."""
    return tuple(values[name] for name in SECRETS if values.get(name))


def project_path(text: str, root: Path = PROJECT) -> Path:
    """A path of the command line: `~` is the home folder, relative ones are taken from the project's root."""
    try:
        return root / Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: no such user's home folder; write the path out") from None
