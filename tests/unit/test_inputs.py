"""Weights and data are found in place; what is missing is one line that says where it was looked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.identity import FileHashes
from orchestrator.inputs import Located, data_root, hub_cache, locate_data, locate_model
from orchestrator.registry.load import Registry, load

REGISTRY = """
environments:
  tf-x: {transformers: 4.37.2}
models:
  folder: {environments: [tf-x], kind: hf, path: weights}
  hub: {environments: [tf-x], kind: hf, repo: org/name, also: [org/other]}
  pinned: {environments: [tf-x], kind: hf, repo: org/name, revision: COMMIT}
  unseeing: {environments: [tf-x], kind: blind, of: folder}
  theirs: {environments: [tf-x], kind: replay, answers: "answers/{benchmark}.jsonl"}
benchmarks:
  POPE: {type: yes_no, metric: {id: f1, unit: "%", max: 100}}
  Mine: {dataset: POPE, type: yes_no, file: mine.tsv, sha256: HASH, metric: {id: f1, unit: "%", max: 100}}
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b"index\tquestion\n"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY.replace("COMMIT", COMMIT).replace("HASH", hashlib.sha256(CONTENT).hexdigest()))
    return load(path)


def model(registry: Registry, name: str, environ: Mapping[str, str]) -> Located:
    hashes = FileHashes(registry.path.parent / "hashes.json")
    return locate_model(name, registry, environ=environ, hashes=hashes, benchmark_names=("POPE", "Mine"))


def data(registry: Registry, name: str, environ: Mapping[str, str]) -> Located:
    return locate_data(name, registry, environ=environ, hashes=FileHashes(registry.path.parent / "hashes.json"))


def make_repo(hub: Path, repo: str) -> None:
    folder = hub / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)


def test_the_hub_cache_is_where_huggingface_hub_has_it() -> None:
    # huggingface_hub, "Environment variables": HF_HUB_CACHE, HF_HOME, defaults
    assert hub_cache({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}) == Path("/c")
    assert hub_cache({"HF_HOME": "/h"}) == Path("/h/hub")
    assert hub_cache({}).parts[-3:] == (".cache", "huggingface", "hub")
    assert data_root({"LMUData": "/d"}) == Path("/d")
    assert data_root({}).name == "LMUData"


def test_a_repository_is_mounted_whole_with_what_its_code_loads_besides(registry: Registry, tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path)}
    make_repo(tmp_path / "hub", "org/name")
    located = model(registry, "hub", environ)
    assert len(located.missing) == 1
    assert "org/other@main" in located.missing[0]
    assert "org/name" not in located.missing[0]
    make_repo(tmp_path / "hub", "org/other")
    located = model(registry, "hub", environ)
    assert located.missing == ()
    assert [m.target for m in located.mounts] == ["cache/hub/models--org--name", "cache/hub/models--org--other"]
    assert not any(m.writable for m in located.mounts)
    assert (located.pinned, located.revision) == (False, COMMIT)
    assert model(registry, "pinned", environ).pinned


def test_a_folder_is_known_by_its_content(registry: Registry, tmp_path: Path) -> None:
    assert "weights" in model(registry, "folder", {}).missing[0]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    first = model(registry, "folder", {})
    assert first.identity == model(registry, "unseeing", {}).identity
    (tmp_path / "weights" / "config.json").write_text('{"a": 1}')
    assert model(registry, "folder", {}).identity != first.identity


def test_answers_may_be_there_for_some_benchmarks_only(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "Mine.jsonl").write_text("")
    located = model(registry, "theirs", {})
    assert located.missing == ()
    assert list(located.absent) == ["POPE"]
    assert [m.target for m in located.mounts] == ["cache/answers/Mine.jsonl"]


def test_data_comes_from_its_file_or_from_the_harness_folder(registry: Registry, tmp_path: Path) -> None:
    assert "set LMUData" in data(registry, "POPE", {"LMUData": str(tmp_path / "none")}).missing[0]
    (tmp_path / "POPE.tsv").write_bytes(CONTENT)
    (tmp_path / "mine.tsv").write_bytes(CONTENT)
    sha = hashlib.sha256(CONTENT).hexdigest()
    assert data(registry, "POPE", {"LMUData": str(tmp_path)}).identity == {"data": sha}
    assert data(registry, "Mine", {}).identity == {"data": sha}


def test_another_hash_than_the_registrys_is_said_and_not_used(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_bytes(CONTENT + b"1\tx\n")
    located = data(registry, "Mine", {})
    assert located.mounts == ()
    assert "the registry says" in located.missing[0]


def test_links_that_leave_a_folder_are_said_since_no_job_could_follow_them(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "blob").write_text("{}")
    (tmp_path / "weights" / "config.json").symlink_to(tmp_path / "blob")
    located = model(registry, "folder", {})
    assert located.mounts == ()
    assert "cp -rL" in located.missing[0]
