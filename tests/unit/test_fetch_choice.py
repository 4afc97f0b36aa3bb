"""Which files of a repository come, and what a fetch job's file may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lockstep_runner.contract import ContractError
from lockstep_runner.fetch_choice import choose
from lockstep_runner.fetch_contract import Repo, Url, hide, read_fetch
from pydantic import ValidationError

from orchestrator.fetch.files import FetchFile, FetchRepo, FetchUrl

SHARDS = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
BINS = [f"pytorch_model-0000{n}-of-00003.bin" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["pytorch_model.bin", "training_args.bin"], []),
        ([*SHARDS, "model.safetensors.index.json", *BINS, "pytorch_model.bin.index.json"],
         [*BINS, "pytorch_model.bin.index.json"]),
        ([*SHARDS, *BINS], []),  # no index: nothing could load the shards
        ([SHARDS[0], "model.safetensors.index.json", *BINS], []),  # one shard is not there
        (["model.safetensors", "mm_projector.bin", "visual.pth"], []),
        (["adapter_model.safetensors", "adapter_model.bin"], ["adapter_model.bin"]),
        (["sub/model.safetensors", "pytorch_model.bin"], []),
        (["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"],
         ["unet/diffusion_pytorch_model.bin"]),
        (["model.fp16.safetensors", "pytorch_model.bin", "pytorch_model.fp16.bin"], ["pytorch_model.fp16.bin"]),
        (["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "onnx/model.onnx"],
         ["flax_model.msgpack", "onnx/model.onnx", "rust_model.ot", "tf_model.h5"]),
        (["tf_model.h5", "onnx/model.onnx", "model.gguf"], []),  # nothing else is there: what is, is needed
        (["data.h5", "config.json"], []),
    ],
)  # fmt: skip
def test_no_weights_twice_and_none_lost(names: list[str], left: list[str]) -> None:
    kept, skipped = choose(names, code=True)
    assert skipped == sorted(left)
    assert sorted([*kept, *skipped]) == sorted(names)
    assert choose(names, code=True, weights=False) == (sorted(names), [])


def test_code_is_all_that_python_could_import() -> None:
    names = ["a.py", "B.PY", "c.so", "d.pyc", "lib/e.py", "py.txt", "f.python"]
    assert choose(names, code=False) == (["f.python", "py.txt"], ["B.PY", "a.py", "c.so", "d.pyc", "lib/e.py"])
    assert choose(names, code=True)[1] == []


def test_the_runner_reads_what_the_host_writes(tmp_path: Path) -> None:
    items: list[FetchRepo | FetchUrl] = [
        FetchRepo(id="m", repo="org/name", revision="refs/pr/1", repo_type="dataset", code=True),
        FetchUrl(id="u", url="https://h/f", target="data/f.tsv", sha256="0" * 64, md5="1" * 32, unpack=True),
    ]
    file = FetchFile(run_id="r", key="k", environment="e", items=items)
    path = tmp_path / "job.json"
    path.write_text(file.model_dump_json())
    job = read_fetch(path)
    assert (job.attempts, job.wait_seconds) == (file.attempts, file.wait_seconds)
    repo, url = job.items
    assert isinstance(repo, Repo)
    assert isinstance(url, Url)
    assert {**vars(repo), "kind": "repo"} == items[0].model_dump()
    assert {**vars(url), "kind": "url"} == items[1].model_dump()
    assert repo.folder.name == "datasets--org--name"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"kind": "repo", "id": "m", "repo": "../x"}, "not a repository"),
        ({"kind": "repo", "id": "m", "repo": "org/name", "revision": "../../x"}, "not a repository"),
        ({"kind": "url", "id": "u", "url": "file:///etc/passwd", "target": "data/x"}, "not a web address"),
        ({"kind": "url", "id": "u", "url": "https://h/f", "target": "data/../../x"}, "not a web address"),
        ({"kind": "git", "id": "g"}, "unknown kind 'git'"),
        ({"kind": "repo", "id": "m", "repo": "a/b", "more": 1}, "unknown more"),
    ],
)
def test_a_job_file_that_asks_for_too_much_is_refused(tmp_path: Path, item: dict[str, object], words: str) -> None:
    path = tmp_path / "job.json"
    file = {"schema_version": 1, "run_id": "r", "key": "k", "environment": "e", "items": [item]}
    path.write_text(json.dumps(file))
    with pytest.raises(ContractError, match=words):
        read_fetch(path)
    path.write_text(json.dumps({**file, "schema_version": 2}))
    with pytest.raises(ContractError, match="schema 2"):
        read_fetch(path)


@pytest.mark.parametrize("target", ["f", "/data/f", "data/../f", "", "data\\f"])
def test_a_target_is_a_path_below_a_folder_of_the_cache(target: str) -> None:
    with pytest.raises(ValidationError):
        FetchUrl(id="u", url="https://h/f", target=target)


def test_an_archive_needs_its_hash() -> None:
    with pytest.raises(ValidationError, match="needs its sha256"):
        FetchUrl(id="u", url="https://h/f", target="sources/f", md5="0" * 32, unpack=True)


def test_a_line_shows_no_password_and_stays_one_line() -> None:
    assert hide("http://me:secret@proxy:3128/ said\n\x1b[31mno") == "http://proxy:3128/ said [31mno"
