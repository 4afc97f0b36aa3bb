"""The committed JSON Schemas are those of the models, and say the same as the loader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from orchestrator import schemas
from orchestrator.layout import PROJECT
from orchestrator.registry.source import read

REGISTRIES = ("registry.yaml", "demo/registry.yaml")


def test_the_committed_schemas_are_fresh() -> None:
    assert schemas.check() == []


def test_write_makes_what_check_wants_and_then_changes_nothing(tmp_path: Path) -> None:
    assert len(schemas.check(tmp_path)) == len(schemas.MODELS)
    assert sorted(schemas.write(tmp_path)) == sorted(f"{name}.schema.json" for name in schemas.MODELS)
    assert (schemas.check(tmp_path), schemas.write(tmp_path)) == ([], [])


def test_a_stale_file_and_one_without_a_model_are_named_with_the_command(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    (tmp_path / "job.schema.json").write_text("{}", encoding="utf-8")
    (tmp_path / "gone.schema.json").write_text("{}", encoding="utf-8")
    assert schemas.check(tmp_path) == [
        "schemas/job.schema.json is stale: python run_matrix.py schemas",
        "schemas/gone.schema.json has no model behind it: python run_matrix.py schemas",
    ]
    assert schemas.write(tmp_path) == ["job.schema.json", "gone.schema.json"]
    assert schemas.check(tmp_path) == []


@pytest.mark.parametrize("name", schemas.MODELS)
def test_each_is_a_valid_schema_with_descriptions(name: str) -> None:
    schema = json.loads(schemas.rendered()[f"{name}.schema.json"])
    Draft202012Validator.check_schema(schema)
    assert schema["description"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("name", REGISTRIES)
def test_our_registries_name_the_schema_and_fit_it(name: str) -> None:
    path = PROJECT / name
    first = path.read_text(encoding="utf-8").splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    named = (path.parent / first.removeprefix(prefix)).resolve()
    assert named == schemas.FOLDER / "registry.schema.json"
    validator = Draft202012Validator(json.loads(named.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(read(path).data)] == []


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    validator = Draft202012Validator(json.loads(schemas.rendered()["registry.schema.json"]))
    assert validator.is_valid({"environments": {"e": {"transformers": "4.37.2"}}})
    assert not validator.is_valid({"environments": {"e": {"transformers": 4.37}}})
    assert not validator.is_valid({"models": {"m": {"enviroments": ["e"]}}})
