"""Content identities (design: what was answered and how it was scored, never where or when). Pure but for reading files.

A digest is SHA-256 over canonical JSON (sorted keys, no white space, UTF-8).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_CHUNK = 1 << 20


class Identity(BaseModel):
    """SHA-256 over content; None: not resolved yet. `parts`: what went in, by name, to tell later what changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prediction: str | None = None
    score: str | None = None
    parts: dict[str, str] = Field(default_factory=dict)


def digest(value: object) -> str:
    """SHA-256 (hex) of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def samples_sha256(ids: Iterable[str]) -> str:
    """SHA-256 over the sorted ids joined by newlines: the name of a sample set."""
    return hashlib.sha256("\n".join(sorted(ids)).encode("utf-8", "surrogatepass")).hexdigest()


PREDICTION_PARTS = ("environment", "adapter", "model", "data", "benchmark", "generation")
SCORE_PARTS = ("scorer", "judge", "scoring", "samples")


def prediction_identity(parts: Mapping[str, str]) -> str | None:
    """What determines the answers: a change of any part means other predictions. None while a part is not known."""
    return _of(parts, PREDICTION_PARTS)


def score_identity(parts: Mapping[str, str]) -> str | None:
    """What determines a score: the predictions, over which samples, by which scorer and judge."""
    return _of(parts, (*PREDICTION_PARTS, *SCORE_PARTS))


def _of(parts: Mapping[str, str], names: Iterable[str]) -> str | None:
    chosen = {name: parts.get(name) for name in names}
    return None if None in chosen.values() else digest(chosen)


class FileHashes:
    """SHA-256 of files and folders, remembered by path, size and mtime in one JSON file.

    The memory is an optimisation: an unreadable one is started anew.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[object]] = {}
        self._changed = False
        if memory.exists():
            try:
                self._known = json.loads(memory.read_text())
            except ValueError:
                self._known = {}

    def of_file(self, path: Path) -> str:
        """Hex SHA-256 of the file's bytes. Raises OSError where it cannot be read."""
        real = path.resolve()
        stat = real.stat()
        key, stamp = str(real), [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(key)
        if known and known[:2] == stamp:
            return str(known[2])
        sha = hashlib.sha256()
        with real.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
        self._known[key] = [*stamp, sha.hexdigest()]
        self._changed = True
        return sha.hexdigest()

    def of_folder(self, folder: Path) -> str:
        """Digest over relative names and contents of all files below `folder` (bytecode caches left out)."""
        files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        return digest([[p.relative_to(folder).as_posix(), self.of_file(p)] for p in files])

    def save(self) -> None:
        """Write the memory, renamed into place. Where the folder cannot be written nothing is remembered."""
        if not self._changed:
            return
        fresh = self._memory.with_name(f"{self._memory.name}.{os.getpid()}")
        with suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(self._known))
            fresh.replace(self._memory)
        self._changed = False
