"""`repro`: a recorded cell is the same a second and a third time, and what never ran is not repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.command import Said, matrix

REGISTRY = ("--registry", "demo/registry.yaml")
MODELS = ("--models", "random-choice,replay-example", "--benchmarks", "DemoPOPE,DemoCaptions")


@pytest.fixture(scope="module")
def outputs(fresh_images: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("again")
    done = matrix(*REGISTRY, *MODELS, "--limit", "5", "--executor", "docker", "--output-root", str(folder), "--json")
    assert done.code == 0, done.err
    return folder


def repro(outputs: Path, *words: str) -> Said:
    return matrix("repro", *words, "--output-root", str(outputs))


@pytest.mark.engine
def test_each_time_is_anew_and_by_image_id(outputs: Path) -> None:
    first, second = (repro(outputs, "random-choice", "DemoPOPE") for _ in range(2))
    for done in (first, second):
        assert done.code == 0, done.err
        assert "5 of 5 answers are equal" in done.out
        assert " sha256:" in done.out
        assert "--network none" in done.out
    folders = sorted((outputs / "latest" / "repro").glob("*/DemoPOPE/*/random-choice/*/DemoPOPE/infer"))
    assert len(folders) == 2
    for folder in folders:
        assert len((folder / "predictions.jsonl").read_text().splitlines()) == 5


@pytest.mark.engine
def test_a_cell_of_two_environments_is_repeated_in_both(outputs: Path) -> None:
    done = repro(outputs, "random-choice", "DemoCaptions")
    assert done.code == 0, done.err
    assert done.out.count("docker run --rm") == 2


@pytest.mark.engine
def test_printing_runs_nothing(outputs: Path) -> None:
    before = len(list((outputs / "latest" / "repro").rglob("predictions.jsonl")))
    done = repro(outputs, "random-choice", "DemoPOPE", "--print")
    assert done.code == 0
    assert len(list((outputs / "latest" / "repro").rglob("predictions.jsonl"))) == before


@pytest.mark.engine
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("replay-example", "DemoCaptions"), "never ran"),
        (("random-choise", "DemoPOPE"), "did you mean 'random-choice'"),
        (("random-choice", "DemoPOP"), "did you mean 'DemoPOPE'"),
    ],
)
def test_what_cannot_be_repeated_is_one_line(outputs: Path, words: tuple[str, ...], says: str) -> None:
    done = repro(outputs, *words)
    assert done.code in (1, 2)
    assert len(done.lines) == 1
    assert says in done.lines[0]


@pytest.mark.engine
def test_a_recorded_image_that_is_gone_is_one_line(outputs: Path) -> None:
    file = (outputs / "latest").resolve() / "run.json"
    kept = file.read_text()
    image = kept.split('"image": "sha256:')[1][:64]
    try:
        file.write_text(kept.replace(image, "0" * 64))
        done = repro(outputs, "random-choice", "DemoPOPE")
    finally:
        file.write_text(kept)
    assert done.code == 4
    assert len(done.lines) == 1
    assert "is not here any more" in done.lines[0]
