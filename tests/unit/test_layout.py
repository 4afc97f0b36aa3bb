"""Paths: no name leaves its folder or takes another's place."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.layout import RunLayout, slug


@given(st.text(min_size=1, max_size=300))
def test_a_slug_is_one_safe_file_name(name: str) -> None:
    made = slug(name)
    assert 0 < len(made) <= 80
    assert "/" not in made
    assert made not in (".", "..")
    assert not made.startswith(".")
    assert made.isascii()


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100))
def test_two_names_never_share_a_slug(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


def test_harness_names_stay_as_they_are() -> None:
    assert slug("llava_v1.5_7b") == "llava_v1.5_7b"
    assert slug("VisOnlyQA-VLMEvalKit") == "VisOnlyQA-VLMEvalKit"


def test_a_model_named_like_a_file_of_the_run_gets_another_folder(tmp_path: Path) -> None:
    run = RunLayout(root=tmp_path)
    for name in ("records", "logs", "jobs", "run.json", "results.csv"):
        assert run.job_out(name, "tf-4.37").parent.name.startswith(f"{name}-")
    assert run.job_out("tiny", "tf-4.37") == tmp_path / "tiny" / "tf-4.37"
