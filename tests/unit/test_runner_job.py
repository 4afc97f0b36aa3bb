"""The runner's loop with a fake model: what it writes is what the host's models accept, whatever goes wrong."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lockstep_runner.contract import digest_of

from orchestrator.job import Failure, Prediction, ResultFile, SampleScore
from tests.unit.runner_fakes import House, evaluate, house, index, infer, raises, signals


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return house(tmp_path, monkeypatch)


def result(place: House, stage: str) -> ResultFile:
    return ResultFile.model_validate_json((place.out / stage / "result.json").read_text())


def wrapped(cause: Exception) -> Exception:
    """As libraries raise what they caught."""
    error = ValueError("a library's own words")
    error.__cause__ = cause
    cause.__context__ = error  # a ring, as code may make one
    return error


def test_one_load_serves_all_stages_and_is_freed_before_scoring(place: House) -> None:
    code = place.run(infer("A"), evaluate("A"), infer("B"), evaluate("B"), infer("C"))
    assert code == 0
    assert place.model.loads == 1
    phases = place.phases()
    assert phases.count("loaded") == 1
    assert [p for p in phases if p in ("load", "loaded", "free", "evaluate", "done")] == [
        *("load", "loaded", "free", "evaluate", "evaluate", "done")
    ]
    assert max(i for i, p in enumerate(phases) if p == "infer") < phases.index("free")


def test_everything_written_is_what_the_host_reads(place: House) -> None:
    place.run(infer(), evaluate())
    predictions = [Prediction.model_validate(line) for line in place.lines("B/infer/predictions.jsonl")]
    assert [(p.id, p.answer) for p in predictions] == [(f"s{i}", f"answer to s{i}") for i in range(4)]
    assert len({p.prompt_sha256 for p in predictions}) == 4
    inferred, scored = result(place, "B/infer"), result(place, "B/evaluate")
    assert (inferred.status, inferred.n_rows, inferred.n_units, inferred.n_failed) == ("ok", 4, 2, 0)
    assert (inferred.adapter, inferred.load_events) == ("hf 7", 1)
    assert inferred.load_seconds is not None
    assert inferred.samples_sha256 == scored.samples_sha256 == digest_of(["s3", "s1", "s2", "s0"])
    assert [(m.id, m.value, m.n) for m in scored.metrics] == [("accuracy", 50.0, 2)]
    assert (scored.scorer, scored.judge, scored.device) == ("fake 1", "exact_matching", "cpu")
    [SampleScore.model_validate(line) for line in place.lines("B/evaluate/scores.jsonl")]
    assert not (place.out / "error.json").exists()


def test_events_count_up_and_name_each_sample_before_it_is_asked(place: House) -> None:
    place.run(infer())
    place.run(infer(count=2))
    events = place.lines("events.jsonl")
    assert [event["seq"] for event in events] == list(range(len(events)))
    beats = [(e["sample"], e["done"], e["total"]) for e in events if e["phase"] == "infer" and e["sample"]]
    assert beats == [("s0", 0, 4), ("s1", 1, 4), ("s2", 2, 4), ("s3", 3, 4)]
    assert all(event["peak_memory_gb"] > 0 for event in events)
    keys = {"seq", "time", "phase", "stage", "sample", "done", "total", "peak_memory_gb", "message"}
    assert {frozenset(event) for event in events} == {frozenset(keys)}


def test_a_sample_that_raises_is_failed_and_never_an_answer(place: House) -> None:
    place.model.answers["s1"] = raises(ValueError("no such token"))
    place.model.answers["s2"] = lambda: None
    assert place.run(infer(), evaluate()) == 0
    errors = {line["id"]: line["error"] for line in place.lines("B/infer/predictions.jsonl") if line["error"]}
    assert set(errors) == {"s1", "s2"}
    failed = Failure.model_validate(errors["s1"])
    assert (failed.kind, failed.type, failed.message, failed.phase) == (
        "model",
        "ValueError",
        "no such token",
        "generate",
    )
    assert failed.where.startswith("unit/runner_fakes.py:")
    assert failed.sample == "s1"
    assert "NoneType" in errors["s2"]["message"]
    assert result(place, "B/infer").n_failed == result(place, "B/evaluate").n_failed == 2
    assert place.scored == [{"s0": "answer to s0", "s3": "answer to s3"}]


def test_a_model_that_exits_is_a_model_that_fails(place: House) -> None:
    place.model.answers["s0"] = raises(SystemExit(-1))
    assert place.run(infer()) == 0
    assert place.lines("B/infer/predictions.jsonl")[0]["error"]["type"] == "SystemExit"


def test_a_model_that_raises_on_every_sample_leaves_no_number(place: House) -> None:
    place.model.answers = {f"s{i}": raises(RuntimeError("broken")) for i in range(4)}
    assert place.run(infer(), evaluate()) == 0
    for stage in ("B/infer", "B/evaluate"):
        found = result(place, stage)
        assert (found.status, found.n_failed, found.metrics) == ("failed", 4, [])
        assert found.failure is not None
        assert found.failure.message == "broken"
    assert place.scored == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "device"),
        (RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling cublasSgemm"), "device"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "disk"),
        (wrapped(OSError(errno.ENOSPC, "No space left on device")), "disk"),
        (wrapped(wrapped(MemoryError())), "oom"),
    ],
)
def test_when_memory_disk_or_gpu_is_gone_the_job_ends_and_blames_no_sample(
    place: House, error: Exception, kind: str
) -> None:
    place.model.answers["s1"] = raises(error)
    assert place.run(infer(), evaluate()) == (74 if kind == "disk" else 1)
    said = Failure.model_validate(place.json("error.json"))
    assert (said.kind, said.phase, said.sample) == (kind, "generate", "s1")
    assert [line["id"] for line in place.lines("B/infer/predictions.jsonl")] == ["s0"]
    assert not (place.out / "B/infer/result.json").exists()
    place.model.answers.clear()
    assert place.run(infer(), evaluate()) == 0
    assert not (place.out / "error.json").exists()
    assert place.model.asked.count("B/s0") == 1
    assert result(place, "B/evaluate").status == "ok"


def test_an_assertion_in_a_kernel_is_the_models_and_ends_the_job(place: House) -> None:
    place.model.answers["s1"] = raises(RuntimeError("CUDA error: device-side assert triggered"))
    assert place.run(infer(), evaluate()) == 1
    assert place.json("error.json")["kind"] == "model"
    assert [(line["id"], line["answer"]) for line in place.lines("B/infer/predictions.jsonl")] == [
        ("s0", "answer to s0"),
        ("s1", None),
    ]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: no CUDA-capable device is detected")])
def test_a_load_that_the_machine_broke_leaves_every_stage_to_be_done(place: House, error: Exception) -> None:
    place.run(infer("A"))
    place.model.load_error = error
    assert place.run(infer("A"), infer("B"), evaluate("B")) == 1
    assert Failure.model_validate(place.json("error.json")).phase == "load"
    assert result(place, "A/infer").status == "ok"
    assert not (place.out / "B").exists()


def test_a_model_that_cannot_be_loaded_fails_every_stage_with_the_reason(place: House) -> None:
    place.model.load_error = OSError("no file named model.safetensors")
    assert place.run(infer("A"), evaluate("A"), infer("B"), evaluate("B")) == 1
    assert Failure.model_validate(place.json("error.json")).phase == "load"
    for stage in ("A/infer", "A/evaluate", "B/infer", "B/evaluate"):
        failure = result(place, stage).failure
        assert failure is not None
        assert (failure.kind, failure.type) == ("model", "OSError")
    assert "loaded" not in place.phases()


def test_a_load_that_fails_does_not_spoil_what_was_finished_before(place: House) -> None:
    place.run(infer("A"), evaluate("A"))
    place.model.load_error = OSError("disk gone")
    assert place.run(infer("A"), evaluate("A"), infer("B"), evaluate("B")) == 1
    assert result(place, "A/evaluate").status == "ok"
    assert result(place, "B/evaluate").status == "failed"


def test_data_that_cannot_be_opened_fails_its_own_stages_alone(place: House) -> None:
    place.missing.add("A")
    assert place.run(infer("A"), evaluate("A"), infer("B"), evaluate("B")) == 0
    for stage in ("A/infer", "A/evaluate"):
        failure = result(place, stage).failure
        assert failure is not None
        assert (failure.kind, failure.message) == ("data", "cache/data/A.tsv: no such file")
    assert result(place, "B/evaluate").status == "ok"


def test_a_sample_that_the_file_does_not_have_is_a_data_error(place: House) -> None:
    stage = infer().model_copy(update={"samples": ["s0", "s9"]})
    place.run(stage)
    failure = result(place, "B/infer").failure
    assert failure is not None
    assert failure.message == "cache/data/B.tsv: has no sample 's9' (1 such)"


def test_contradicting_predictions_are_a_data_error_and_stay(place: House) -> None:
    path = place.out / "B/infer/predictions.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps({"id": "s0", "answer": a, "error": None}) + "\n" for a in "ab"))
    assert place.run(infer(), evaluate()) == 0
    failure = result(place, "B/evaluate").failure
    assert failure is not None
    assert failure.kind == "data"
    assert path.read_text().count("\n") == 2
    assert place.model.loads == 0


def test_a_number_that_is_not_finite_is_no_number(place: House) -> None:
    place.value = float("nan")
    place.run(infer(), evaluate())
    found = result(place, "B/evaluate")
    assert (found.status, found.metrics) == ("failed", [])
    assert found.failure is not None
    assert (found.failure.kind, found.failure.message) == ("scorer", "the scorer gave nan for accuracy")


def test_missing_predictions_are_never_scored_around(place: House) -> None:
    place.run(infer(count=2))
    place.run(evaluate())
    failure = result(place, "B/evaluate").failure
    assert failure is not None
    assert "no prediction for 2 of 4 samples, first 's2'" in failure.message


def test_a_resume_asks_only_what_is_missing_or_failed(place: House) -> None:
    place.model.answers["s1"] = raises(ValueError("once"))
    place.run(infer(count=3))
    path = place.out / "B/infer/predictions.jsonl"
    path.write_text(path.read_text() + '{"id": "s3", "answer": "to')
    place.model.answers.clear()
    place.model.asked.clear()
    assert place.run(infer()) == 0
    assert place.model.asked == ["B/s1", "B/s3"]
    assert sorted(line["id"] for line in place.lines("B/infer/predictions.jsonl")) == ["s0", "s1", "s2", "s3"]
    assert result(place, "B/infer").n_failed == 0


def test_nothing_missing_means_no_load_and_the_first_conditions_stay(place: House) -> None:
    place.run(infer(), evaluate())
    before = (place.out / "B/infer/result.json").read_bytes()
    assert place.run(infer(), evaluate()) == 0
    assert place.model.loads == 1
    assert (place.out / "B/infer/result.json").read_bytes() == before
    assert place.phases().count("load") == 1


def test_old_files_of_the_scorer_are_gone_before_it_scores_again(place: House) -> None:
    place.run(infer(), evaluate())
    (place.out / "B/evaluate/raw/stale_auxmatch.xlsx").write_text("of another day")
    place.run(infer(), evaluate())
    assert [path.name for path in (place.out / "B/evaluate/raw").iterdir()] == ["table.txt"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_job_in_a_state_that_can_be_gone_on_from(place: House, signum: signal.Signals) -> None:
    place.model.answers["s2"] = signals(signum, "never")
    assert place.run(infer(), evaluate()) == 128 + signum
    said = Failure.model_validate(place.json("error.json"))
    assert (said.kind, said.message) == ("interrupted", f"stopped by {signum.name}")
    assert [line["id"] for line in place.lines("B/infer/predictions.jsonl")] == ["s0", "s1"]
    assert not (place.out / "B/infer/result.json").exists()
    place.model.answers.clear()
    assert place.run(infer(), evaluate()) == 0
    assert place.model.asked.count("B/s0") == 1
    assert result(place, "B/evaluate").status == "ok"


def test_a_signal_during_the_load_ends_it(place: House) -> None:
    place.model.load_calls = signals(signal.SIGTERM, "")
    assert place.run(infer()) == 143
    assert place.json("error.json")["phase"] == "load"


WRAPPED = {
    "error": RuntimeError("Error calling __set_name__ on 'Field' instance 'x' in 'Config'"),
    "memory": MemoryError(),
    "answer": None,  # caught without a word
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("place_of", ["load", "answer", "data", "scorer"])
def test_a_stop_that_other_code_makes_something_else_of_is_a_stop(
    place: House, monkeypatch: pytest.MonkeyPatch, how: str, place_of: str
) -> None:
    def swallows(*given: Any) -> Any:
        try:
            signals(signal.SIGTERM, "")()
        except BaseException as error:
            if made := WRAPPED[how]:
                raise made from error
        return originals[place_of](*given) if place_of in originals else "made of a stop"

    originals: dict[str, Callable[..., Any]] = {"data": place.open, "scorer": place.evaluate}
    if place_of == "load":
        place.model.load_calls = swallows
    elif place_of == "answer":
        place.model.answers["s2"] = swallows
    else:
        module, name = {"data": ("benchmark", "open_benchmark"), "scorer": ("scoring", "evaluate")}[place_of]
        monkeypatch.setattr(f"lockstep_runner.{module}.{name}", swallows)
    assert place.run(infer(), evaluate()) == 143
    said = place.json("error.json")
    assert (said["kind"], said["message"]) == ("interrupted", "stopped by SIGTERM")
    assert (place.out / "B/infer/result.json").exists() is (place_of == "scorer")
    assert not (place.out / "B/evaluate/result.json").exists()
    path = place.out / "B/infer/predictions.jsonl"
    asked = {"load": 0, "answer": 2, "data": 0, "scorer": 4}[place_of]
    assert len(path.read_text().splitlines() if path.exists() else []) == asked


def test_an_index_says_what_is_in_the_file(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep_runner import benchmark

    monkeypatch.setattr(benchmark, "write_index", lambda made, given, path: path.write_text(given["name"]))
    (place.out / "B/index").mkdir(parents=True)
    assert place.run(index()) == 0
    found = result(place, "B/index")
    assert (found.status, found.n_rows, found.n_units) == ("ok", 4, 2)
    assert found.samples_sha256 == digest_of(["s0", "s1", "s2", "s3"])
    assert (place.out / "B/index/index.json").read_text() == "B"
    assert place.model.loads == 0


def test_pictures_are_gone_after_each_sample(place: House) -> None:
    seen: list[int] = []
    original = place.open

    def opened(given: dict[str, object], scratch: Path) -> object:
        seen.append(len(list(scratch.iterdir())))
        place.model.answers["s3"] = lambda: str(len(list(scratch.iterdir())))
        return original(given, scratch)

    from lockstep_runner import benchmark

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "open_benchmark", opened)
        place.run(infer())
    assert place.lines("B/infer/predictions.jsonl")[3]["answer"] == "1"
