"""Lock files as the kernel sees them: opened without following links, as open as the folder they lie in, held by flock.

Files are emptied, never removed: whoever waits for one must not find itself holding a file that has no name any more.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import Unavailable

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LARGEST = 16 * 2**10  # bytes of a mark that are read: in a shared folder anybody may have written it
_MODE = 0o666  # whoever reaches the folder may lock


def open_lock(path: Path, *, create: bool = True) -> int:
    """A descriptor, closed in other programs that this one starts. Its folder is made where its parent exists.

    Raises FileNotFoundError where it is not there and not to be made, Unavailable where something else is in its place
    or it may not be written.
    """
    if create:
        _make_folder(path.parent)
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_folder(path.parent, folder)
            descriptor = _open_in(folder, path.name, create)
        finally:
            os.close(folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; a lock belongs there: remove or mend it") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # a second name would be somebody's own file
        os.close(descriptor)
        raise Unavailable(f"{path} is no lock file; a lock belongs there: remove it")
    return descriptor


def _make_folder(folder: Path) -> None:
    """As open as the folder that it is in, whatever the umask."""
    with suppress(FileExistsError):
        os.mkdir(folder)
        os.chmod(folder, folder.parent.stat().st_mode & 0o3777)


def _check_folder(path: Path, folder: int) -> None:
    """In a folder that all users share nobody but its owner may take a file out of another's hands."""
    found = os.fstat(folder)
    shared = path.parent.stat().st_mode & stat.S_ISVTX
    if shared and not found.st_mode & stat.S_ISVTX and found.st_uid not in (0, os.getuid()):
        raise Unavailable(f"{path} is not a folder that users can share (mode 1777): sudo rm -r {path}")


def _open_in(folder: int, name: str, create: bool) -> int:
    """First without O_CREAT: the kernel refuses that for another user's file in a shared folder (protected_regular)."""
    for attempt in range(20):
        try:
            return os.open(name, _FLAGS, dir_fd=folder)
        except PermissionError:  # another user may have made it this instant, and not opened it to all yet
            if attempt == 19:
                raise
            time.sleep(0.005)
        except FileNotFoundError:
            if not create:
                raise
            with suppress(FileExistsError):
                descriptor = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=folder)
                os.fchmod(descriptor, _MODE)
                return descriptor
    raise FileExistsError(0, "comes and goes", name)


def try_flock(descriptor: int, *, shared: bool = False) -> bool:
    """Whether the lock could be taken at once; it ends when the descriptor is closed or its process dies."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def still_there(descriptor: int, path: Path) -> bool:
    """Whether the path still names this file: a cleaner of temporary files may have removed it."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (os.fstat(descriptor).st_dev, os.fstat(descriptor).st_ino)


def read_mark(descriptor: int) -> bytes:
    return os.pread(descriptor, _LARGEST, 0)


def write_mark(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)
