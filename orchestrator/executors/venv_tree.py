"""The tree that a job sees, made of links instead of mounts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.executors.protocol import Job


@contextmanager
def linked(job: Job) -> Iterator[Path]:
    """`job.folder` with a link for every mount that is not there itself; all are gone afterwards.

    Where one mount lies in another, a folder of links stands for the outer one.
    Raises FileNotFoundError for a source that is missing, as an engine does.
    """
    made: list[Path] = []
    try:
        for mount in sorted(job.mounts, key=lambda m: m.target.count("/")):
            source = mount.source.resolve(strict=True)
            if source != (job.folder / mount.target).resolve():
                _link(job.folder, mount.target, source, made)
        yield job.folder
    finally:
        for path in reversed(made):
            _gone(path)


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
