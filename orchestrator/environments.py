"""An environment as images and venvs need to know it; the registry makes these from its `environments:`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """One locked dependency set: `lock` holds all that is in it; `python` and `transformers` are what it must have."""

    name: str
    transformers: str
    lock: Path
    python: str = "3.11"
