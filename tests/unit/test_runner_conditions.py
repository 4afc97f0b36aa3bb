"""Under what an answer was made: every new line names it, and the file that explains it is there first."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lockstep_runner import machine
from lockstep_runner.adapters.remote_code import RemoteCodeModel
from lockstep_runner.conditions import keep_conditions, key_of
from lockstep_runner.contract import Model

from orchestrator.job import Conditions, Prediction
from orchestrator.planning.identity import digest
from tests.unit.runner_fakes import House, house, infer, raises


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    return house(tmp_path, monkeypatch)


def conditions(place: House) -> dict[str, Conditions]:
    return {key: Conditions.model_validate(one) for key, one in place.json("B/infer/conditions.json").items()}


def keys(place: House) -> dict[str, str | None]:
    lines = [Prediction.model_validate(line) for line in place.lines("B/infer/predictions.jsonl")]
    return {line.id: line.conditions for line in lines}


def test_a_key_is_the_hosts_digest_of_the_content() -> None:
    hard = {"b": [1, None], "a": "한국 \ud800 \x1b"}
    assert key_of(hard) == digest(hard)[:12]


def test_every_answer_names_what_it_was_made_under(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_environment_digest", lambda: "sha256:abc")
    place.model.answers["s1"] = raises(ValueError("broken"))
    place.run(infer())
    ((key, said),) = conditions(place).items()
    assert set(keys(place).values()) == {key}
    assert key == digest(place.json("B/infer/conditions.json")[key])[:12]
    assert (said.run_id, said.device, said.gpus, said.threads, said.adapter) == ("r", "cpu", [], 3, "hf 7")
    assert said.batch_size is None
    assert said.versions.environment_digest == "sha256:abc"


def test_conditions_are_written_before_the_first_answer_and_after_the_load(place: House) -> None:
    path = place.out / "B/infer/conditions.json"
    seen: list[bool] = []

    def look() -> str:
        seen.append(path.exists())
        return "Yes"

    place.model.load_calls = place.model.answers["s0"] = look
    place.run(infer())
    assert seen == [False, True]


def test_another_job_adds_its_own_and_keeps_what_was_there(place: House) -> None:
    place.model.answers["s2"] = raises(MemoryError())
    place.run(infer())
    place.model.answers.clear()
    place.run_id, place.model.batch_size = "later", 1
    place.run(infer())
    by_run = {said.run_id: key for key, said in conditions(place).items()}
    assert keys(place) == {"s0": by_run["r"], "s1": by_run["r"], "s2": by_run["later"], "s3": by_run["later"]}
    assert conditions(place)[by_run["later"]].batch_size == 1


def test_answers_that_the_host_put_there_keep_their_conditions_and_load_nothing(place: House) -> None:
    place.run(infer())
    (earlier,) = conditions(place)
    (place.out / "B/infer/result.json").unlink()
    place.run_id = "later"
    assert place.run(infer()) == 0
    assert (place.model.loads, list(conditions(place)), set(keys(place).values())) == (1, [earlier], {earlier})
    said = place.json("B/infer/result.json")
    assert (said["status"], said["load_events"], said["load_seconds"], said["adapter"]) == ("ok", 0, None, "hf 7")


def test_the_same_conditions_are_not_written_twice(tmp_path: Path) -> None:
    now: dict[str, Any] = {"run_id": "r"}
    key = keep_conditions(tmp_path, now)
    before = (tmp_path / "conditions.json").stat().st_ino
    assert keep_conditions(tmp_path, now) == key
    assert (tmp_path / "conditions.json").stat().st_ino == before
    assert json.loads((tmp_path / "conditions.json").read_text()) == {key: now}


def chat(tokenizer: object, image: object, question: str) -> str:
    return ""


def open_ended_chat(tokenizer: object, image: object, question: str, **options: object) -> str:
    return ""


def batching_chat(tokenizer: object, image: object, question: str, batch_size: int = 8) -> str:
    return ""


@pytest.mark.parametrize(("way", "used"), [(chat, None), (open_ended_chat, None), (batching_chat, 2)])
def test_a_batch_size_is_that_which_chat_takes(way: object, used: int | None) -> None:
    model = Model(name="m", adapter="remote-code", batch_size=2)
    loaded = RemoteCodeModel(model, SimpleNamespace(chat=way), None)
    assert (loaded.batch_size, loaded._options.get("batch_size")) == (used, used)


def test_threads_are_those_of_the_job_else_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert machine.threads() is None
    monkeypatch.setitem(sys.modules, "torch", type("Torch", (), {"get_num_threads": staticmethod(lambda: 5)}))
    assert machine.threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert machine.threads() == 2


def test_a_models_sources_come_first_while_it_is_loaded(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.root / "cache/sources/its-own"
    folder.mkdir(parents=True)
    (folder / "lockstep_own_package.py").write_text("SAID = 'from its source'")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    path = list(sys.path)

    def ask() -> str:
        import lockstep_own_package  # type: ignore[import-not-found]

        return f"{lockstep_own_package.SAID}, {os.environ['PYTHONPATH']}"

    place.sources = ["cache/sources/its-own"]
    place.model.answers["s0"] = ask
    place.run(infer(count=1))
    del sys.modules["lockstep_own_package"]
    assert place.lines("B/infer/predictions.jsonl")[0]["answer"] == f"from its source, {folder}:/elsewhere"
    assert (sys.path, os.environ["PYTHONPATH"]) == (path, "/elsewhere")


def test_a_source_that_is_not_there_is_said_before_anything_is_loaded(place: House) -> None:
    place.sources = ["cache/sources/gone"]
    assert place.run(infer()) == 1
    assert place.model.loads == 0
    assert place.json("error.json")["message"] == "no folder cache/sources/gone, which the model's `sources` need"
