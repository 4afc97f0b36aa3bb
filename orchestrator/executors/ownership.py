"""Folders of the caller that an unprivileged user inside a container may write to for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.executors.protocol import Job


@contextmanager
def lent(job: Job, owner: int | None) -> Iterator[None]:
    """The job's writable folders belong to `owner` inside this block, and to the caller again after it.

    Needs root where `owner` is a uid (the caller is root then); None changes nothing.
    """
    if owner is None:
        yield
        return
    folders = [mount.source.resolve() for mount in job.mounts if mount.writable]
    for folder in folders:
        give(folder, owner, owner)
    try:
        yield
    finally:
        for folder in folders:
            give(folder, os.getuid(), os.getgid())


def give(folder: Path, uid: int, gid: int) -> None:
    """Change the owner of a folder and all in it. Links are changed themselves, never followed."""
    os.chown(folder, uid, gid, follow_symlinks=False)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)
