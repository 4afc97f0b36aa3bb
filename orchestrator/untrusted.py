"""Files that a job may have written, taken for what they are: not trusted. No link is followed, nothing blocks, all is bounded.

A job owns its `work/out` and all below it, so also the folders on the way to a file: name the run's folder as `below`.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

SMALL = 2**24  # bytes of a file with one value in it: result.json, error.json
LARGE = 2**29  # bytes of a file that grows with its benchmark: predictions.jsonl, scores.jsonl, index.json

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FILE = (
    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
)  # nonblocking: a named pipe opens at once
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


class NotPlain(ValueError):
    """Something that no honest job leaves in the place of a file; the message is one line."""


def open_plain(path: Path, *, below: Path | None = None) -> BinaryIO:
    """An ordinary file, for reading. With `below`, no folder between it and the file may be a link either.

    Raises FileNotFoundError where nothing is there, NotPlain where it is no ordinary file, and OSError.
    """
    folder = None if below is None else _open_folder(path.parent, below)
    try:
        try:
            descriptor = os.open(path if folder is None else path.name, _FILE, dir_fd=folder)
        except OSError as error:
            raise _explained(error, path, "a file", path if folder is None else path.name, folder) from None
    finally:
        if folder is not None:
            os.close(folder)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotPlain(f"{path.name} is {_kind(mode)}, not a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_plain(path: Path, *, limit: int, below: Path | None = None) -> bytes:
    """All of an ordinary file of at most `limit` bytes. Raises as `open_plain`, NotPlain also where it is larger."""
    with open_plain(path, below=below) as file:
        content = file.read(limit + 1)
        if len(content) > limit:
            size = max(os.fstat(file.fileno()).st_size, len(content))
            raise NotPlain(f"{path.name} has {size} bytes, more than the {limit} that are read of such a file")
        return content


def parse_json(content: bytes | str) -> object:
    """A JSON value. Raises ValueError, also for one that is nested too deeply to be read."""
    try:
        return json.loads(content)
    except RecursionError:
        raise NotPlain("nested too deeply") from None


def is_plain(path: Path, *, below: Path | None = None) -> bool:
    """Whether an ordinary file is there that can be opened."""
    try:
        open_plain(path, below=below).close()
    except (OSError, NotPlain):
        return False
    return True


def check_folder(folder: Path, *, below: Path) -> None:
    """Raises NotPlain where the folder, or one between `below` and it, is a link or no folder; OSError where it is missing."""
    os.close(_open_folder(folder, below))


def remove_litter(folder: Path) -> list[str]:
    """Remove from a job's output, once nothing of the job runs, all that is neither a file nor a folder.

    What then writes or deletes there stays there. Returns what was removed, relative to `folder`, for the log.
    Raises NotPlain where the folder itself is a link, OSError where something cannot be removed.
    """
    check_folder(folder, below=folder.parent)
    removed = []
    for parent, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                os.unlink(name, dir_fd=descriptor)
                removed.append(f"{Path(parent, name).relative_to(folder)} ({_kind(mode)})")
    return sorted(removed)


def _open_folder(folder: Path, below: Path) -> int:
    """Each step is opened in the one before, so that none can be exchanged for a link meanwhile."""
    parts = folder.relative_to(below).parts
    if ".." in parts:
        raise NotPlain(f"{folder} leaves {below.name}")
    descriptor = os.open(below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        outer = descriptor
        try:
            descriptor = os.open(part, _FOLDER, dir_fd=outer)
        except OSError as error:
            raise _explained(error, folder, "a folder", part, outer) from None
        finally:
            os.close(outer)
    return descriptor


def _explained(error: OSError, path: Path, wanted: str, name: Path | str, folder: int | None) -> Exception:
    """NotPlain where the refusal is due to what kind of thing is there."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            return NotPlain(f"{Path(name).name} is {_kind(mode)}, not {wanted}")
        except OSError:
            pass
    error.filename = str(path)
    return error


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a file")
