"""Identities are content: what must and what must not change them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.planning.identity import FileHashes, digest, prediction_identity, samples_sha256, score_identity

PARTS = {
    "environment": "e" * 64,
    "adapter": "hf 1",
    "model": '{"content":"m"}',
    "data": "d" * 64,
    "benchmark": '{"type":"yes_no"}',
    "generation": '{"max_new_tokens":8}',
    "scorer": "kit 1",
    "judge": "exact_matching",
    "scoring": '{"group_by":null}',
    "samples": "s" * 64,
}


@pytest.mark.parametrize("name", ["environment", "adapter", "model", "data", "benchmark", "generation"])
def test_every_part_of_a_prediction_counts(name: str) -> None:
    other = PARTS | {name: "other"}
    assert prediction_identity(other) not in (None, prediction_identity(PARTS))
    assert score_identity(other) not in (None, score_identity(PARTS))
    assert prediction_identity({k: v for k, v in PARTS.items() if k != name}) is None


@pytest.mark.parametrize("name", ["scorer", "judge", "scoring", "samples"])
def test_what_scores_counts_for_the_score_alone(name: str) -> None:
    other = PARTS | {name: "other"}
    assert prediction_identity(other) == prediction_identity(PARTS)
    assert score_identity(other) not in (None, score_identity(PARTS))


def test_what_is_no_part_counts_for_nothing() -> None:
    assert score_identity(PARTS | {"gpu": "H100", "host": "node3"}) == score_identity(PARTS)


def test_digest_is_sha256_of_canonical_json() -> None:
    # printf '{"a":[1,"é"],"b":null}' | sha256sum
    assert digest({"b": None, "a": [1, "é"]}) == "1e02bc81a26af2f027329541e97eef36f3290bedc6dfe043dbe66b057ecb13ba"


def test_sample_set_has_no_order() -> None:
    assert samples_sha256(["b", "a"]) == samples_sha256(["a", "b"]) != samples_sha256(["a"])


def test_files_are_hashed_again_only_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    hashes = FileHashes(tmp_path / "hashes.json")
    # FIPS 180-2, appendix B.1
    assert hashes.of_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    hashes.save()
    stat = file.stat()
    file.write_bytes(b"abd")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert FileHashes(tmp_path / "hashes.json").of_file(file) == hashes.of_file(file), "same size and mtime: remembered"
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert FileHashes(tmp_path / "hashes.json").of_file(file) != hashes.of_file(tmp_path / "hashes.json")


def test_folder_digest_covers_names_and_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    hashes = FileHashes(tmp_path / "hashes.json")
    assert hashes.of_folder(first) == hashes.of_folder(second)
    (second / "config.json").rename(second / "other.json")
    assert hashes.of_folder(first) != hashes.of_folder(second)


def test_broken_memory_is_started_anew(tmp_path: Path) -> None:
    memory = tmp_path / "hashes.json"
    memory.write_text("{torn")
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    assert FileHashes(memory).of_file(file).startswith("ba7816bf")
