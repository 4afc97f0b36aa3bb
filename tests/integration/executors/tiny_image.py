"""A small image that holds nothing but this machine's Python, for tests of a container engine."""

from __future__ import annotations

import io
import json
import re
import secrets
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "ensurepip",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "lib2to3",
}


def python() -> Path:
    """The interpreter behind a virtual environment: what the image can hold."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def python_files() -> list[Path]:
    """The interpreter, its standard library and the shared libraries that they need."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [python()]
    for path in sorted(library.rglob("*")):
        inside = path.relative_to(library).parts
        if path.is_file() and not _LEFT_OUT & set(inside) and not inside[0].startswith("config-"):
            files.append(path)
    return files


def image_bytes(files: Iterable[Path]) -> bytes:
    """A root file system as a tar: these files and the shared libraries they are linked with, each at its own path."""
    wanted = set(files)
    binaries = [path for path in wanted if path.suffix == ".so" or not path.suffix or path.name.startswith("python")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        every = wanted | _libraries(binaries)
        for folder in sorted({parent for path in every for parent in path.parents if parent.name}):
            tar.addfile(_folder(folder))  # engines differ in the mode of folders that a tar does not name
        for path in sorted(every):
            tar.add(path, arcname=str(path).lstrip("/"), filter=_plain)
    return buffer.getvalue()


def _folder(path: Path) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(str(path).lstrip("/"))
    entry.type = tarfile.DIRTYPE
    entry.mode = 0o755
    return entry


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode |= 0o444
    return entry


def _libraries(binaries: Iterable[Path]) -> set[Path]:
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(/\S+\.so[.\d]*)(?: \(0x)", listed)}


def load(api: Any, files: Iterable[Path]) -> str:
    """Import the files as an image; returns its id."""
    # podman takes no tag from this request; both engines answer with the id
    said = api.import_image_from_data(image_bytes(files), repository="lockstep-test", tag=secrets.token_hex(6))
    return str(json.loads(said.splitlines()[-1])["status"])
