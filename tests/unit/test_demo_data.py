"""The demo's committed data: what the scripts draw, in the real formats, and nothing of it trained on."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from ast import literal_eval
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from demo import questions, scenes
from demo.scenes import Bar, Thing

DEMO = Path(__file__).resolve().parents[2] / "demo"
DATA = DEMO / "data"
MANIFEST: dict[str, dict[str, Any]] = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
REDRAW = "run an environment's python -m demo.make_benchmarks"
TABLES = ["demo_mmbench", "demo_pope", "demo_textvqa", "demo_chartqa", "demo_captions"]


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(DATA / f"{name}.tsv", sep="\t", keep_default_na=False, dtype=str)


def test_the_manifest_names_every_file() -> None:
    assert sorted(MANIFEST) == sorted(path.name for path in DATA.iterdir() if path.name != "manifest.json"), REDRAW


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_files_are_those_that_the_script_drew(name: str) -> None:
    content = (DATA / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == MANIFEST[name]["sha256"], REDRAW
    rows = len(table(name.removesuffix(".tsv"))) if name.endswith(".tsv") else len(content.splitlines())
    assert rows == MANIFEST[name]["rows"]


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3_000_000


@pytest.mark.parametrize("name", TABLES)
def test_every_image_is_a_jpeg_or_names_a_row_that_has_one(name: str) -> None:
    frame = table(name)
    images = dict(zip(frame["index"], frame["image"], strict=True))
    assert len(images) == len(frame)
    # VLMEvalKit's ImageBaseDataset: up to 64 characters are the index of another row
    found = [images[image] if len(image) <= 64 else image for image in frame["image"]]
    assert {base64.b64decode(image)[:3] for image in found} == {b"\xff\xd8\xff"}


@pytest.mark.parametrize("name", TABLES)
def test_benchmarks_show_only_what_training_never_sees(name: str) -> None:
    shown = MANIFEST[f"{name}.tsv"]["scenes"]
    assert [content for content in shown if not scenes.is_held_out(content)] == []


def test_training_never_draws_what_is_held_out() -> None:
    rng = random.Random(0)
    drawn = [scenes.content_of(scenes.random_things(rng, held_out=False, count=2)) for _ in range(2000)]
    drawn += [scenes.content_of(scenes.random_number(rng, held_out=False)) for _ in range(2000)]
    drawn += [scenes.content_of(scenes.random_bars(rng, held_out=False)) for _ in range(2000)]
    asked = {content for entry in MANIFEST.values() for content in entry.get("scenes", [])}
    assert asked.isdisjoint(drawn)
    assert not any(map(scenes.is_held_out, drawn))


def test_about_a_fifth_is_held_out() -> None:
    contents = [scenes.content_of(str(number)) for number in range(10, 1000)]
    share = sum(map(scenes.is_held_out, contents)) / len(contents)
    assert share == pytest.approx(scenes.HELD_OUT_SHARE, abs=0.05)


def test_the_content_of_a_scene_ignores_order() -> None:
    red, blue = Thing("red", "circle"), Thing("blue", "square")
    assert scenes.content_of([red, blue]) == scenes.content_of([blue, red]) == "blue square, red circle"
    assert scenes.content_of([Bar("red", 40), Bar("blue", 15)]) == "blue 15, red 40"
    assert scenes.content_of("347") == "number 347"


def test_mmbench_asks_forty_questions_under_four_rotations() -> None:
    frame = table("demo_mmbench")
    frame["unit"] = frame["index"].astype(int) % 1_000_000
    frame["right"] = [row[row["answer"]] for row in frame.to_dict("records")]
    assert set(frame.groupby("unit").size()) == {4}
    assert frame["unit"].nunique() == 40
    for _, copies in frame.groupby("unit"):
        assert copies["right"].nunique() == 1
        assert sorted(copies["answer"]) == list("ABCD")
    assert sorted(frame["category"].unique()) == ["colour_recognition", "shape_recognition"]


def test_pope_is_balanced_in_every_category() -> None:
    frame = table("demo_pope")
    # VLMEvalKit's POPE_rating splits joined categories and counts such a row once in each
    pairs = frame.assign(category=frame["category"].str.split(",")).explode("category")[["category", "answer"]]
    counts = Counter(pairs.itertuples(index=False, name=None))
    assert counts == {(name, word): 10 for name in ("random", "popular", "adversarial") for word in ("Yes", "No")}
    assert 30 <= len(frame) <= 60


def test_textvqa_has_ten_answers_to_a_question() -> None:
    answers = [literal_eval(text) for text in table("demo_textvqa")["answer"]]
    assert [len(given) for given in answers] == [10] * 40
    assert min(Counter(given).most_common(1)[0][1] for given in answers) >= 8


def test_chartqa_has_both_splits_and_whole_numbers() -> None:
    frame = table("demo_chartqa")
    assert dict(Counter(frame["split"])) == {"test_human": 20, "test_augmented": 20}
    assert {int(answer) for answer in frame["answer"]} <= set(scenes.BAR_VALUES)


def test_captions_have_references_of_four_words_and_more() -> None:
    references = [literal_eval(text) for text in table("demo_captions")["answer"]]
    assert len(references) == 40
    assert min(len(sentence.split()) for given in references for sentence in given) >= 4
    assert min(len(set(given)) for given in references) == 4


def test_replayed_answers_are_partly_wrong_and_partly_unparsable() -> None:
    right = dict(zip(table("demo_pope")["index"], table("demo_pope")["answer"], strict=True))
    lines = (DATA / "replay_pope.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {record["id"]: record["answer"] for record in map(json.loads, lines)}
    assert list(answers) == list(right)
    words = {index: answer.split(",")[0].rstrip(".") for index, answer in answers.items()}
    assert sum(word not in ("Yes", "No") for word in words.values()) == 2
    share = sum(words[index] == right[index] for index in right) / len(right)
    assert 0.6 <= share <= 0.9


def test_prompts_are_worded_as_vlmevalkit_words_them() -> None:
    # what build_prompt of ImageMCQDataset and ImageVQADataset makes of such a row in VLMEvalKit (ms-vlmeval 0.0.18)
    assert questions.multiple_choice("What colour is the circle?", ["red", "blue", "green", "orange"]) == (
        "Question: What colour is the circle?\nOptions:\nA. red\nB. blue\nC. green\nD. orange\n"
        "Please select the correct answer from the options above. \n"
    )
    assert questions.short_answer("What number?") == (
        "What number?\nAnswer the question using a single word or phrase."
    )


def test_captions_and_questions_about_a_scene() -> None:
    things = [Thing("orange", "circle"), Thing("red", "circle"), Thing("blue", "cross")]
    assert questions.caption(things) == "an orange circle, a red circle and a blue cross"
    assert questions.yes_no(things[0]) == "Is there an orange circle in the image? Please answer yes or no."
    asked = {(question.text, question.answer) for question in questions.attribute_questions(things)}
    assert asked == {
        ("What shape is the orange object?", "circle"),
        ("What shape is the red object?", "circle"),
        ("What colour is the cross?", "blue"),
        ("What shape is the blue object?", "cross"),
    }
    assert questions.absent_things(things, shared=2) == [
        Thing("red", "cross"),
        Thing("blue", "circle"),
        Thing("orange", "cross"),
    ]
