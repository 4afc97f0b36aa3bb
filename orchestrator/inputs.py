"""Where weights and data are on this machine: each used in place, read-only; what is missing is said, never fetched here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.identity import FileHashes
from orchestrator.layout import Mount, slug
from orchestrator.registry.load import Registry
from orchestrator.registry.schema import BenchmarkEntry, ModelEntry


@dataclass(frozen=True, kw_only=True)
class Located:
    """One model or benchmark on this machine. `missing` holds one line per thing that is not here."""

    mounts: tuple[Mount, ...] = ()
    missing: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)  # benchmark → what is missing for it alone
    identity: Mapping[str, object] = field(default_factory=dict)
    pinned: bool = True
    revision: str | None = None


def hub_cache(environ: Mapping[str, str]) -> Path:
    """The hub cache as huggingface_hub finds it: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"])
    home = environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface")
    return Path(home) / "hub"


def data_root(environ: Mapping[str, str]) -> Path:
    """VLMEvalKit's data folder: LMUData, else ~/LMUData."""
    return Path(environ.get("LMUData") or os.path.join(os.path.expanduser("~"), "LMUData"))


def _repo(hub: Path, repo: str, revision: str) -> tuple[Path, str | None]:
    """The repository's folder in a hub cache and the commit that `revision` names there (None: not there)."""
    folder = hub / ("models--" + repo.replace("/", "--"))
    ref = folder / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    return folder, commit if (folder / "snapshots" / commit).is_dir() else None


def _locate_hub(entry: ModelEntry, hub: Path) -> Located:
    assert entry.repo
    mounts: list[Mount] = []
    missing: list[str] = []
    commits: dict[str, str] = {}
    for repo, revision in [(entry.repo, entry.revision), *((other, "main") for other in entry.also)]:
        folder, commit = _repo(hub, repo, revision)
        if commit is None:
            missing.append(f"{repo}@{revision}")
        else:
            mounts.append(Mount(source=folder, target=f"cache/hub/{folder.name}"))
            commits[repo] = commit
    pinned = entry.revision == commits.get(entry.repo, "")
    identity = {"repo": entry.repo, "commits": commits}
    return Located(
        mounts=tuple(mounts),
        missing=(f"not in the hub cache {hub} (HF_HOME names another): {', '.join(missing)}",) if missing else (),
        identity=identity,
        pinned=pinned,
        revision=commits.get(entry.repo, entry.revision),
    )


def locate_model(
    name: str, registry: Registry, *, environ: Mapping[str, str], hashes: FileHashes, benchmark_names: tuple[str, ...]
) -> Located:
    """Find a model's weights (a folder, a hub repository) or its answers (replay)."""
    name, entry = registry.weights_of(name)
    kind = entry.resolved_kind
    if kind in ("random-choice", "most-frequent"):
        return Located(identity={"kind": kind})
    if entry.answers:
        return _locate_answers(registry.resolve("models", name, entry.answers), hashes, benchmark_names)
    if entry.path:
        return _locate_folder(name, registry.resolve("models", name, entry.path), hashes)
    if entry.repo is None:
        return Located(missing=(f"{name} names neither repo nor path ({registry.where('models', name)})",))
    return _locate_hub(entry, registry.resolve("models", name, entry.hub) if entry.hub else hub_cache(environ))


def _locate_folder(name: str, folder: Path, hashes: FileHashes) -> Located:
    if not folder.is_dir():
        return Located(missing=(f"the folder {folder} is not there",))
    outside = next((p for p in folder.rglob("*") if p.is_symlink() and not _within(p, folder)), None)
    if outside:
        remedy = "copy the folder with cp -rL, or name the repository with `repo:` and its cache with HF_HOME"
        return Located(
            missing=(f"{folder} has links that leave it ({outside.name}), which no job could follow: {remedy}",)
        )
    try:
        sha = hashes.of_folder(folder)
    except OSError as error:
        return Located(missing=(f"{error.filename} cannot be read: {error.strerror}",))
    mount = Mount(source=folder.resolve(), target=f"cache/models/{slug(name)}")
    return Located(mounts=(mount,), identity={"content": sha}, revision=sha[:12])


def answers_target(pattern: str) -> str:
    """Where a job sees answers to replay: one file for each benchmark where the registry's path has `{benchmark}`."""
    return "cache/answers/{benchmark}.jsonl" if "{benchmark}" in pattern else "cache/answers/answers.jsonl"


def _within(link: Path, folder: Path) -> bool:
    return link.resolve().is_relative_to(folder.resolve())


def _locate_answers(pattern: Path, hashes: FileHashes, benchmark_names: tuple[str, ...]) -> Located:
    mounts, absent, contents = [], {}, {}
    for benchmark in benchmark_names:
        path = Path(str(pattern).replace("{benchmark}", slug(benchmark)))
        if path.is_file():
            contents[benchmark] = hashes.of_file(path)
            mounts.append(
                Mount(source=path.resolve(), target=answers_target(str(pattern)).format(benchmark=slug(benchmark)))
            )
        else:
            absent[benchmark] = f"no answers to replay: {path} is not there"
    return Located(mounts=tuple(dict.fromkeys(mounts)), absent=absent, identity={"answers": contents})


def locate_data(name: str, registry: Registry, *, environ: Mapping[str, str], hashes: FileHashes) -> Located:
    """Find a benchmark's file; `identity` holds its SHA-256. A hash that differs from the registry's is `missing` too."""
    entry: BenchmarkEntry = registry.benchmarks[name]
    dataset = entry.dataset or name
    path = registry.resolve("benchmarks", name, entry.file) if entry.file else data_root(environ) / f"{dataset}.tsv"
    if not path.is_file():
        hint = "" if entry.file else "; set LMUData to the folder that has it"
        return Located(missing=(f"the data file {path} is not there{hint}",))
    try:
        sha = hashes.of_file(path)
    except OSError as error:
        return Located(missing=(f"the data file {path} cannot be read: {error.strerror}",))
    if entry.sha256 and sha != entry.sha256:
        wrong = (
            f"{path} has SHA-256 {sha}, the registry says {entry.sha256}: put the right file there or correct sha256"
        )
        return Located(missing=(wrong,))
    mount = Mount(source=path.resolve(), target=f"cache/data/{slug(name)}{path.suffix}")
    return Located(mounts=(mount,), identity={"data": sha})
