"""Folders of one process for what no one else may read: secrets, a job's scratch. Gone when it ends, however it ends."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.claims.process import Life, Process, this_process

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_FOLDER_NAME = re.compile(r"lockstep-(?P<kind>[a-z-]+)-(?P<pid>\d+)-(?P<start>\d*)-(?P<boot>[0-9a-f-]*)-\w+")


def memory() -> Path:
    """A folder that is never written to a disk, where there is one; else the one for temporary files."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    for place in filter(None, (own, "/dev/shm")):
        if os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    return Path(tempfile.gettempdir())


@contextmanager
def private_folder(kind: str, base: Path) -> Iterator[Path]:
    """A new folder (0700) that carries its owner in its name, and is removed at the end."""
    owner = this_process()
    prefix = f"lockstep-{kind}-{owner.pid}-{owner.start}-{owner.boot}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def secret_files(
    values: Mapping[str, str], owner: int | None, base: Path | None = None, *, executor: str = ""
) -> Iterator[Path | None]:
    """A folder with one file (0400) for each value, readable by user `owner` (None: the caller); None without values.

    What is left of it is for the executor of that name to sweep (kind `secrets-<executor>`), which knows who sees it.
    Raises ValueError for a name that is no plain file name.
    """
    if not values:
        yield None
        return
    with private_folder(f"secrets-{executor}" if executor else "secrets", base or memory()) as folder:
        inner = folder / "secrets"  # what is mounted belongs to another user; who may come near it does not change
        inner.mkdir(mode=0o700)
        for name, value in values.items():
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"a secret cannot be named {name!r}")
            _write(inner / name, value, owner)
        if owner is not None:
            os.chown(inner, owner, owner)
        yield inner


def _write(path: Path, value: str, owner: int | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
        if owner is not None:
            os.fchown(descriptor, owner, owner)


def sweep(kind: str, base: Path, keep: Callable[[str], bool] = lambda name: False) -> list[str]:
    """Remove the caller's folders of that kind whose process has ended; `keep` is asked for each. Names of the removed."""
    with os.scandir(base) as entries:
        left = [entry for entry in entries if _left(entry, kind) and not keep(entry.name)]
    for entry in left:
        shutil.rmtree(entry.path, ignore_errors=True)
    return [entry.name for entry in left]


def _left(entry: os.DirEntry[str], kind: str) -> bool:
    match = _FOLDER_NAME.fullmatch(entry.name)
    if match is None or match["kind"] != kind:
        return False
    owner = Process(host=socket.gethostname(), boot=match["boot"], pid=int(match["pid"]), start=match["start"])
    facts = entry.stat(follow_symlinks=False)
    return owner.life is Life.DEAD and facts.st_uid == os.getuid() and stat.S_ISDIR(facts.st_mode)
