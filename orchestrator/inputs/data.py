"""Where a benchmark's file is on this machine, whether it is the right one, and from where it would be fetched."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from orchestrator.fetch.files import FetchUrl
from orchestrator.inputs.located import Located, Wanted, unfetched
from orchestrator.layout import Mount, ProjectLayout, slug
from orchestrator.planning.identity import FileHashes
from orchestrator.registry.load import Registry
from orchestrator.registry.schema import BenchmarkEntry


def data_root(environ: Mapping[str, str]) -> Path:
    """VLMEvalKit's data folder: LMUData, else ~/LMUData."""
    return Path(environ.get("LMUData") or os.path.join(os.path.expanduser("~"), "LMUData"))


def locate_data(
    name: str,
    registry: Registry,
    *,
    environ: Mapping[str, str],
    hashes: FileHashes,
    layout: ProjectLayout | None = None,
    fetch: bool = False,
) -> Located:
    """Find a benchmark's file; `identity` holds its SHA-256. A user's file with another hash than the registry's is
    `missing`. Without `fetch`, so is what could be fetched.
    """
    entry, layout = registry.benchmarks[name], layout or ProjectLayout()
    fetched = layout.data / f"{slug(name)}.tsv"
    own = registry.resolve("benchmarks", name, entry.file) if entry.file else None
    path = own or data_root(environ) / f"{entry.dataset or name}.tsv"
    if path.is_file():
        return _checked(name, entry, path, hashes, layout)
    if own:
        return Located(missing=(f"the data file {path} is not there",))
    if fetched.is_file() and not (found := _checked(name, entry, fetched, hashes, layout)).missing:
        return found
    if entry.url is None:
        return Located(missing=(f"the data file {path} is not there; set LMUData to the folder that has it",))
    target = f"data/{fetched.name}"
    item = FetchUrl(id=fetched.name, url=entry.url, target=target, sha256=entry.sha256, md5=entry.md5)
    located = Located(to_fetch=(Wanted(item=item, gb=entry.download_gb),))
    return located if fetch else unfetched(located)


def _checked(name: str, entry: BenchmarkEntry, path: Path, hashes: FileHashes, layout: ProjectLayout) -> Located:
    try:
        sha = hashes.of_file(path)
        md5 = _md5(path, sha, layout.md5s) if entry.md5 else None
    except OSError as error:
        return Located(missing=(f"the data file {path} cannot be read: {error.strerror}",))
    for what, right, found in (("SHA-256", entry.sha256, sha), ("MD5", entry.md5, md5)):
        if right and found != right:
            field = what.lower().replace("-", "")
            remedy = f"put the right file there or correct {field}"
            return Located(missing=(f"{path} has {what} {found}, the registry says {right}: {remedy}",))
    mount = Mount(source=path.resolve(), target=f"cache/data/{slug(name)}{path.suffix}")
    return Located(mounts=(mount,), identity={"data": sha})


def _md5(path: Path, sha: str, memory: Path) -> str:
    """The file's MD5, remembered by its content. The memory is an optimisation: an unreadable one is started anew."""
    known: dict[str, str] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads(memory.read_bytes()))
    if sha not in known:
        md5 = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                md5.update(chunk)
        known[sha] = md5.hexdigest()
        fresh = memory.with_name(f"{memory.name}.{os.getpid()}")
        with suppress(OSError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(known), encoding="utf-8")
            fresh.replace(memory)
    return known[sha]
