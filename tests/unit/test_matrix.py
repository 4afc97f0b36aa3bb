"""Which cells a selection names, and what is said where it names none."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import Exit, NothingSelected, UsageError
from orchestrator.planning.matrix import Cell, Selection, select
from orchestrator.registry import terms
from orchestrator.registry.load import Registry, load

TEXT = """\
environments: {e1: {transformers: 4.33.0}, e2: {transformers: 4.37.2}, e3: {transformers: 4.42.4}}
models:
  lava-7b: {environments: [e2, e3], kind: hf, repo: a/b, default: true, tags: [core, vision]}
  lava-13b: {environments: [e2], kind: hf, repo: a/c, tags: [vision]}
  blip: {environments: [e1, e3], default_environments: [e1, e3], kind: hf, repo: a/d, default: true}
  chance: {environments: [e1], kind: random-choice, harness_name: coin}
benchmarks:
  MMB: {dataset: MMBench_DEV_EN, type: circular, metric: {id: a, unit: x, max: 1}, tags: [basic]}
  POPE: {type: yes_no, metric: {id: a, unit: x, max: 1}, tags: [basic, korean]}
  OCR: {type: ocrbench, metric: {id: a, unit: x, max: 1}, default: false}
suites:
  nightly: {models: ["tag:core"], benchmarks: [POPE, OCR], limit: 100, fresh: true}
  drift: {models: [lava-7b], environments: [all]}
exclude:
  - {models: "blip*", benchmarks: "tag:korean", because: no Korean in its tokenizer}
  - {models: chance, environments: e1, because: nothing to load}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("registry") / "registry.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return load(path)


def short(selection: Selection) -> list[str]:
    return [f"{cell.job_key} {cell.benchmark}{' -' if cell.excluded else ''}" for cell in selection.cells]


EVERYTHING_DEFAULT = [
    "lava-7b@e2 MMB",
    "lava-7b@e2 POPE",
    "blip@e1 MMB",
    "blip@e1 POPE -",
    "blip@e3 MMB",
    "blip@e3 POPE -",
]

# models, benchmarks, environments, suite → cells
SELECTIONS: dict[str, tuple[list[str], list[str], list[str], str | None, list[str]]] = {
    "nothing said is all": ([], [], [], None, EVERYTHING_DEFAULT),
    "all": (["all"], ["all"], [], None, EVERYTHING_DEFAULT),
    "a name that is no default": (["lava-13b"], ["POPE"], [], None, ["lava-13b@e2 POPE"]),
    "a comma list": (["lava-13b, lava-7b,,"], ["OCR"], [], None, ["lava-7b@e2 OCR", "lava-13b@e2 OCR"]),
    "a name said twice": (["blip", "b*"], ["MMB"], ["e1"], None, ["blip@e1 MMB"]),
    "a glob takes those that are no default": (["lava-*"], ["MMB"], [], None, ["lava-7b@e2 MMB", "lava-13b@e2 MMB"]),
    "a star is everything": (["*"], ["OCR"], ["e1"], None, ["blip@e1 OCR", "chance@e1 OCR -"]),
    "a tag": (["tag:vision"], ["tag:korean"], [], None, ["lava-7b@e2 POPE", "lava-13b@e2 POPE"]),
    "a tag glob": (["tag:c*"], ["MMB"], [], None, ["lava-7b@e2 MMB"]),
    "character class": (["lava-[17]*b"], ["MMB"], [], None, ["lava-7b@e2 MMB", "lava-13b@e2 MMB"]),
    "all environments": (["lava-7b"], ["MMB"], ["all"], None, ["lava-7b@e2 MMB", "lava-7b@e3 MMB"]),
    "environments leave models out": ([], ["MMB"], ["e3"], None, ["lava-7b@e3 MMB", "blip@e3 MMB"]),
    "an environment glob": (["blip"], ["MMB"], ["e[13]"], None, ["blip@e1 MMB", "blip@e3 MMB"]),
    "a suite": ([], [], [], "nightly", ["lava-7b@e2 POPE", "lava-7b@e2 OCR"]),
    "a suite with environments": (
        [],
        [],
        [],
        "drift",
        [f"lava-7b@{e} {b}" for e in ("e2", "e3") for b in ("MMB", "POPE")],
    ),
    "what is said replaces the suite's": (["blip"], [], ["e1"], "nightly", ["blip@e1 POPE -", "blip@e1 OCR"]),
}


@pytest.mark.parametrize(
    ("models", "benchmarks", "environments", "suite", "expected"), SELECTIONS.values(), ids=SELECTIONS
)
def test_selection(
    registry: Registry,
    models: list[str],
    benchmarks: list[str],
    environments: list[str],
    suite: str | None,
    expected: list[str],
) -> None:
    assert short(select(registry, models, benchmarks, environments, suite)) == expected


def test_an_excluded_cell_stays_with_its_reason(registry: Registry) -> None:
    cells = select(registry, ["blip"], environments=["e1"]).cells
    assert cells == (
        Cell(model="blip", environment="e1", benchmark="MMB"),
        Cell(model="blip", environment="e1", benchmark="POPE", excluded="no Korean in its tokenizer"),
    )


def test_only_models_written_out_are_named(registry: Registry) -> None:
    assert select(registry, ["blip,lava-7b", "tag:vision"]).named == {"blip", "lava-7b"}
    assert select(registry, ["all", "lava-*"]).named == frozenset()
    assert select(registry, suite="drift").named == {"lava-7b"}


def test_a_suite_brings_its_limit_and_freshness(registry: Registry) -> None:
    nightly, plain = select(registry, suite="nightly"), select(registry)
    assert (nightly.limit, nightly.fresh, plain.limit, plain.fresh) == (100, True, None, False)


def test_what_a_term_left_out_is_noted(registry: Registry) -> None:
    chosen = select(registry, ["blip", "zzz*", "lava-13b"], ["MMB"], ["e1"])
    assert short(chosen) == ["blip@e1 MMB"]
    assert chosen.notes == ("--models zzz*: matches no model", "lava-13b is listed for e2, not for e1")


def test_every_unknown_name_comes_at_once_with_a_guess(registry: Registry) -> None:
    with pytest.raises(UsageError) as caught:
        select(registry, ["lava-7", "coin", "tag:visio"], ["MMBench_DEV_EN", "KOPE"], ["4.37.2", "e9"])
    assert caught.value.exit == Exit.USAGE
    assert list(caught.value.problems) == [
        "--models: unknown model 'lava-7'; did you mean 'lava-7b'?",
        "--models: unknown model 'coin'; here it is called 'chance'",
        "--models: no model has the tag 'visio'; did you mean 'vision'?",
        "--benchmarks: unknown benchmark 'MMBench_DEV_EN'; here it is called 'MMB'",
        "--benchmarks: unknown benchmark 'KOPE'; did you mean 'POPE'?",
        "--environments: unknown environment '4.37.2'; here it is called 'e2'",
        "--environments: unknown environment 'e9'; known: e1, e2, e3",
    ]


def test_an_unknown_suite(registry: Registry) -> None:
    with pytest.raises(UsageError, match=r"unknown suite 'nightl'; did you mean 'nightly'\?"):
        select(registry, suite="nightl")
    with pytest.raises(UsageError, match="unknown suite 'zzz'; known: nightly, drift"):
        select(registry, suite="zzz")


NOTHING = {
    "glob": (["zz*"], [], [], ["  --models zz*: matches no model"]),
    "benchmark glob": (["blip"], ["zz*"], [], ["  --benchmarks zz*: matches no benchmark"]),
    "environment": (["lava-13b"], [], ["e1"], ["  lava-13b is listed for e2, not for e1"]),
    "excluded": (["blip"], ["POPE"], ["e1"], ["  blip × POPE in e1: no Korean in its tokenizer"]),
}


@pytest.mark.parametrize(("models", "benchmarks", "environments", "why"), NOTHING.values(), ids=NOTHING)
def test_nothing_selected_says_why(
    registry: Registry, models: list[str], benchmarks: list[str], environments: list[str], why: list[str]
) -> None:
    with pytest.raises(NothingSelected) as caught:
        select(registry, models, benchmarks, environments)
    assert caught.value.exit == Exit.NOTHING
    assert list(caught.value.problems[1:]) == why


def test_no_default_model(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(TEXT.replace("default: true", "default: false"), encoding="utf-8")
    with pytest.raises(NothingSelected, match="--models all: no model says `default: true`; name some"):
        select(load(path))


PLAIN = st.text(st.sampled_from("abAB-_.1"), min_size=1, max_size=6).filter(lambda name: not terms.bad_name(name))


@given(name=PLAIN, term=st.text(st.sampled_from("ab*?"), min_size=1, max_size=5))
def test_globs_mean_what_the_shell_means(name: str, term: str) -> None:
    expected = fnmatchcase(name, term) if terms.is_glob(term) else name == term
    assert terms.covers(term, name) == expected


@given(name=PLAIN)
def test_every_name_that_is_allowed_can_be_typed(name: str) -> None:
    assert terms.split([name]) == [name]
    assert terms.is_name(name)
    assert terms.covers(name, name)
    assert terms.covers(name[:-1] + "*", name)
