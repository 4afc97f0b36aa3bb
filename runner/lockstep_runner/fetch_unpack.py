"""An archive into a folder, renamed into place; nothing in it may reach out of that folder, or fill the disk."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Optional

from lockstep_runner.fetch_contract import FetchError, inside

MAX_BYTES = 50 * 10**9
MAX_ENTRIES = 500_000
_PIECE = 1 << 20


class _Entry(NamedTuple):
    name: str
    kind: str  # file, folder, link (symbolic), copy (hard link)
    content: Optional[IO[bytes]] = None
    target: str = ""


def unpack(archive: Path, target: Path, *, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES) -> None:
    """Make `target` a folder with the content of a tar or zip. Raises FetchError `archive`, and then leaves nothing.

    A single folder without an `__init__.py` that holds all the rest is left away: code hosts wrap archives so.
    """
    temporary = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(_entries(archive), temporary, max_bytes, max_entries)
        folder = _unwrapped(temporary)
        _stay(folder)
        os.sync()
        folder.rename(target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise FetchError("archive", f"cannot be unpacked ({error}): correct `url` in the registry") from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise FetchError("archive", f"holds {Path(error.filename or '').name!r} twice, as different things") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unwrapped(folder: Path) -> Path:
    found = list(folder.iterdir())
    alone = len(found) == 1 and found[0].is_dir() and not found[0].is_symlink()
    return found[0] if alone and not (found[0] / "__init__.py").exists() else folder


def _stay(folder: Path) -> None:
    """Links are followed through one another, as whoever reads them will, from the folder that is kept."""
    root = folder.resolve()
    for path in root.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise _leaves(str(path.relative_to(root)))


def _leaves(name: str) -> FetchError:
    return FetchError("archive", f"holds {name!r}, a link out of its folder: nothing of it was kept")


def _entries(archive: Path) -> Iterator[_Entry]:
    if zipfile.is_zipfile(archive):
        return _of_zip(archive)
    if tarfile.is_tarfile(archive):
        return _of_tar(archive)
    raise FetchError("archive", "is neither a tar nor a zip: correct `url` in the registry")


def _of_tar(archive: Path) -> Iterator[_Entry]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                yield _Entry(member.name, "folder")
            elif member.isreg():
                yield _Entry(member.name, "file", tar.extractfile(member))
            elif member.issym() or member.islnk():
                yield _Entry(member.name, "link" if member.issym() else "copy", target=member.linkname)
            else:
                raise FetchError("archive", f"holds {member.name!r}, a device or pipe: nothing of it was kept")


def _of_zip(archive: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield _Entry(info.filename, "folder")
            elif stat.S_ISLNK(mode):
                yield _Entry(info.filename, "link", target=file.read(info)[:4096].decode("utf-8", "replace"))
            else:
                with file.open(info) as content:
                    yield _Entry(info.filename, "file", content)


def _write(entries: Iterator[_Entry], folder: Path, max_bytes: int, max_entries: int) -> None:
    """Files first and links last, so that nothing is ever written through a link."""
    links: list[_Entry] = []
    left = max_bytes
    for count, entry in enumerate(entries, start=1):
        name = posixpath.normpath(entry.name)
        if not inside(entry.name):
            raise FetchError("archive", f"holds {entry.name!r}, which leaves its folder: nothing of it was kept")
        if count > max_entries:
            raise FetchError("archive", f"holds more than {max_entries} entries: nothing of it was kept")
        path = folder / name
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
        elif entry.content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            left = _copy(entry.content, path, left, max_bytes)
        else:
            links.append(entry._replace(name=name))
    for entry in sorted(links, key=lambda link: link.kind == "link"):  # copies while there is no link to lead them
        _link(entry, folder)


def _copy(content: Any, path: Path, left: int, limit: int) -> int:
    with path.open("wb") as file:
        for piece in iter(lambda: content.read(_PIECE), b""):
            left -= len(piece)
            if left < 0:
                raise FetchError("archive", f"unpacks to more than {limit} bytes: nothing of it was kept")
            file.write(piece)
    return left


def _link(entry: _Entry, folder: Path) -> None:
    path = folder / entry.name
    base = "" if entry.kind == "copy" else posixpath.dirname(entry.name)
    target = posixpath.normpath(posixpath.join(base, entry.target))
    if posixpath.isabs(entry.target) or not inside(target):
        raise _leaves(entry.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "copy" and not (folder / target).is_file():
        raise FetchError("archive", f"holds {entry.name!r}, a hard link to {target!r}, which it does not hold")
    if entry.kind == "copy":
        os.link(folder / target, path, follow_symlinks=False)
    else:
        path.symlink_to(entry.target)
