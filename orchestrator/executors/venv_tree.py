"""The tree that a job sees, made of links instead of mounts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.executors.protocol import Job, Mount


@contextmanager
def linked(job: Job) -> Iterator[Path]:
    """`job.folder` with a link for every mount that is not there itself; all are gone afterwards.

    Where one mount lies in another, a folder of links stands for the outer one. What an orchestrator that was killed
    left of such a tree is removed first. Raises FileNotFoundError for a source that is missing, as an engine does.
    """
    mounts = sorted(job.mounts, key=lambda m: m.target.count("/"))
    elsewhere = [m for m in mounts if not _in_place(job.folder, m)]
    made: list[Path] = []
    try:
        for mount in elsewhere:
            _forget(job.folder, mount.target)
        for mount in elsewhere:
            _link(job.folder, mount.target, mount.source.resolve(strict=True), made)
        yield job.folder
    finally:
        for path in reversed(made):
            _gone(path)
        _prune(job.folder, [m.target for m in elsewhere])


def _in_place(root: Path, mount: Mount) -> bool:
    """Is it already where the job looks for it, with no link on the way?"""
    return root.resolve() / mount.target == mount.source.resolve()


def _forget(root: Path, target: str) -> None:
    """Remove the link, or the folder of links, that stands where this mount will be seen."""
    place = root
    for part in Path(target).parts:
        place /= part
        if place.is_symlink():
            place.unlink()
            return
    if place.is_dir():
        shutil.rmtree(place)  # never follows links


def _prune(root: Path, targets: Iterable[str]) -> None:
    """The folders on the way to the targets, where nothing is in them."""
    parents = {root / parent for target in targets for parent in Path(target).parents if parent != Path()}
    for folder in sorted(parents, key=lambda p: len(p.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()


def _gone(path: Path) -> None:
    """A link or a folder made here, with what a job left in it (hub libraries write notes beside their cache)."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # never follows links; what stays is not worth a job's outcome
    else:
        path.unlink(missing_ok=True)


def _link(root: Path, target: str, source: Path, made: list[Path]) -> None:
    place = root
    for part in Path(target).parts[:-1]:
        place /= part
        if place.is_symlink():
            _open_up(place, made)
        elif not place.exists():
            place.mkdir()
            made.append(place)
    final = place / Path(target).name
    if final.is_symlink():  # an outer mount's own entry, or left by a run that was killed
        final.unlink()
    final.symlink_to(source)
    if final not in made:
        made.append(final)


def _open_up(link: Path, made: list[Path]) -> None:
    """Replace a linked folder by a folder of links to what is in it, so that one of them can be another thing."""
    source = link.resolve()
    link.unlink()
    made.remove(link)
    link.mkdir()
    made.append(link)
    for entry in sorted(source.iterdir()):
        (link / entry.name).symlink_to(entry)
        made.append(link / entry.name)
