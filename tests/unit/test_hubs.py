"""A snapshot is used where it is whole; a half-downloaded one is not, whoever made it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.fetch.files import FetchedFile, Marker
from orchestrator.inputs.hubs import find, is_commit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A snapshot with one file, as huggingface_hub lays it out."""
    folder = tmp_path / "models--org--name"
    (folder / "blobs").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "blobs" / "b1").write_text("{}")
    (folder / "snapshots" / COMMIT / "config.json").symlink_to("../../blobs/b1")
    return folder


def lacks(folder: Path, *, code: bool = False) -> str:
    found = find(folder.parent, "org/name", "main", code=code)
    assert found is not None
    assert found.commit == COMMIT
    return found.lacks


def mark(folder: Path, *, size: int = 2, code: bool = False, skipped: tuple[str, ...] = ()) -> None:
    file = FetchedFile(path="config.json", size=size, sha256="0" * 64)
    marker = Marker(repo="org/name", commit=COMMIT, code=code, files=[file], skipped=list(skipped))
    (folder / "lockstep").mkdir(exist_ok=True)
    (folder / "lockstep" / f"{COMMIT}.json").write_text(marker.model_dump_json())


def test_a_revision_is_a_ref_or_a_commit(folder: Path) -> None:
    assert lacks(folder) == ""
    assert find(folder.parent, "org/name", COMMIT, code=False) is not None
    assert find(folder.parent, "org/name", "v2", code=False) is None
    assert find(folder.parent, "org/other", "main", code=False) is None
    (folder / "refs" / "main").write_text("../../elsewhere")
    assert find(folder.parent, "org/name", "main", code=False) is None
    assert is_commit(COMMIT)
    assert not is_commit("main")


def test_signs_of_a_download_that_did_not_end(folder: Path) -> None:
    (folder / "blobs" / "b2.incomplete").touch()
    assert "did not end" in lacks(folder)
    (folder / "blobs" / "b2.incomplete").unlink()
    (folder / "snapshots" / COMMIT / "model.safetensors").symlink_to("../../blobs/b2")
    assert lacks(folder) == "model.safetensors is a link to nothing"


def test_an_index_names_the_parts_that_must_be_there(folder: Path) -> None:
    snapshot = folder / "snapshots" / COMMIT
    parts = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (snapshot / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": parts}))
    (snapshot / parts["a"]).touch()
    (snapshot / "training_args.bin").touch()
    assert lacks(folder) == f"{parts['b']} is not there"
    (snapshot / "model.safetensors").touch()
    assert lacks(folder) == "", "whole in the other format"
    (snapshot / "model.safetensors").unlink()
    (snapshot / parts["b"]).touch()
    assert lacks(folder) == ""


def test_the_list_of_what_was_fetched_counts_where_there_is_one(folder: Path) -> None:
    (folder / "lockstep").mkdir()
    partial = folder / "lockstep" / f"{COMMIT}.partial"
    partial.touch()
    assert lacks(folder) == "it was fetched in part"
    mark(folder)
    (folder / "blobs" / "other.incomplete").touch()  # of another revision
    assert lacks(folder) == ""
    mark(folder, size=3)
    assert "config.json is not there or has another size" in lacks(folder)
    (folder / "lockstep" / f"{COMMIT}.json").write_text("{")
    assert "cannot be read" in lacks(folder)


def test_code_that_was_left_out_is_missing_for_who_runs_it(folder: Path) -> None:
    mark(folder, skipped=("modeling.py", "tf_model.h5"))
    assert lacks(folder, code=False) == ""
    assert lacks(folder, code=True) == "it was fetched without its code"
    mark(folder, skipped=("tf_model.h5",))
    assert lacks(folder, code=True) == "", "there is none"
    mark(folder, code=True)
    assert lacks(folder, code=True) == ""


def test_files_that_python_could_import_are_found_by_their_path(folder: Path) -> None:
    snapshot = folder / "snapshots" / COMMIT
    (snapshot / "inner").mkdir()
    (snapshot / "inner" / "m.py").touch()
    found = find(folder.parent, "org/name", "main", code=False)
    assert found is not None
    assert found.code == (f"snapshots/{COMMIT}/inner/m.py",)
