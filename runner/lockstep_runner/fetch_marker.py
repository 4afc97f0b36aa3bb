"""What says that a snapshot in the hub cache is whole, so that the host can tell without the network."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Optional

from lockstep_runner.fetch_choice import is_code
from lockstep_runner.fetch_contract import FETCH_SCHEMA, Repo
from lockstep_runner.files import read_json, write_json, write_lines


@dataclasses.dataclass(frozen=True)
class Marked:
    """`lockstep/<commit>.json` in a repository's folder."""

    repo: str
    commit: str
    code: bool
    files: tuple[dict[str, Any], ...]
    skipped: tuple[str, ...] = ()

    def fields(self, count: int) -> dict[str, Any]:
        """Of a `FetchedItem`."""
        return {"commit": self.commit, "files": list(self.files), "skipped": list(self.skipped), "bytes": count}


def _path(folder: Path, commit: str, end: str) -> Path:
    return folder / "lockstep" / f"{commit}.{end}"


def read_marker(folder: Path, commit: str) -> Optional[Marked]:
    """None where there is none, or none that this runner understands."""
    try:
        data = read_json(_path(folder, commit, "json"))
        if data.pop("schema_version", None) != FETCH_SCHEMA or data.get("commit") != commit:
            return None
        return Marked(**{**data, "files": tuple(data["files"]), "skipped": tuple(data["skipped"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def whole(folder: Path, marked: Marked, *, code: bool) -> bool:
    """Whether every file is there in its size, and the code too where it is asked for."""
    snapshot = folder / "snapshots" / marked.commit
    if code and not marked.code and any(is_code(name) for name in marked.skipped):
        return False
    return all(_size(snapshot / file["path"]) == file["size"] for file in marked.files)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def begin(item: Repo, commit: str) -> None:
    """From here on the snapshot is ours, and not whole."""
    write_lines(_path(item.folder, commit, "partial"), [])


def finish(item: Repo, marked: Marked) -> None:
    """The revision's name for the commit, then the marker. Code that names no revision asks for `main`: it gets this
    commit where nothing else has that name."""
    os.sync()  # the marker must not outlive a power cut that its files do not
    refs = item.folder / "refs"
    if item.revision != marked.commit:
        _write_ref(refs / item.revision, marked.commit)
    if not (refs / "main").exists():
        _write_ref(refs / "main", marked.commit)
    write_json(
        _path(item.folder, marked.commit, "json"), {"schema_version": FETCH_SCHEMA, **dataclasses.asdict(marked)}
    )
    _path(item.folder, marked.commit, "partial").unlink(missing_ok=True)


def _write_ref(path: Path, commit: str) -> None:
    """Without a newline, as the hub's libraries write it and read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(commit, encoding="utf-8")
    temporary.replace(path)
