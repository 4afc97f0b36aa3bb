"""Draws the demo's benchmark files: python -m demo.make_benchmarks  (any Python with Pillow 10.4 and numpy).

The formats are those of VLMEvalKit's own TSV files, down to their oddities: circular copies of a question have the
index plus k million, an image that several rows share is given once and then by the index of its row, POPE's category
may be several joined by commas, and a list of answers is Python's text of a list. Training sees none of these scenes.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from demo import drawing, questions, scenes
from demo.drawing import Targets
from demo.questions import LETTERS, joined
from demo.scenes import Bar, Thing

FOLDER = Path(__file__).parent / "data"
MANIFEST = "manifest.json"
SEED, JPEG_QUALITY = 20261121, 80
CIRCULAR_STEP = 1_000_000
POPE_CATEGORIES = ("random", "popular", "adversarial")
POPULAR_THINGS = 8
CHART_SPLITS = ("test_human", "test_augmented")
SCENE = "scene"  # what the image shows: in the manifest alone, so that a test can see that training never saw it
UNPARSABLE_ANSWERS = ("I cannot tell from this image.", "Maybe: something like that is there.")

Row = dict[str, str | int]


def base64_jpeg(drawn: tuple[Image.Image, Targets]) -> str:
    return base64.b64encode(drawing.jpeg_bytes(drawn[0], JPEG_QUALITY)).decode()


def mmbench(rng: random.Random, count: int = 40) -> list[Row]:
    """Each question four times, its options turned by one place each time; scored as one."""
    originals: list[tuple[Row, list[str], str]] = []
    for index in range(count):
        things = _held_out_things(rng)
        image = base64_jpeg(drawing.draw_things(rng, things))
        asked = rng.choice(questions.attribute_questions(things))
        options = questions.four_options(rng, asked.answer, asked.pool)
        category = "shape_recognition" if asked.answer in scenes.SHAPES else "colour_recognition"
        row: Row = {"index": index, "question": asked.text, "hint": "", **dict.fromkeys(LETTERS, ""), "answer": ""}
        row |= {"category": category, "l2-category": "attribute_recognition", "split": "dev", "image": image}
        row[SCENE] = scenes.content_of(things)
        originals.append((row, options, asked.answer))
    return [_turned(row, options, answer, turn) for turn in range(len(LETTERS)) for row, options, answer in originals]


def _turned(row: Row, options: list[str], answer: str, turn: int) -> Row:
    index = int(row["index"])
    turned = options[turn:] + options[:turn]
    copy = row | dict(zip(LETTERS, turned, strict=True)) | {"index": index + turn * CIRCULAR_STEP}
    copy["answer"] = LETTERS[turned.index(answer)]
    return copy | {"image": index} if turn else copy


def pope(rng: random.Random, scene_count: int = 10) -> list[Row]:
    """For each scene and category one thing that is there and one that is not, sampled as in POPE (arXiv 2305.10355).

    Those not there: any; one that the scenes show often; one made of a colour and a shape that are both there.
    A question that serves several categories is one row, their names joined by commas.
    """
    shown = [_held_out_things(rng) for _ in range(scene_count)]
    counts = Counter(thing for things in shown for thing in things)
    frequent = [thing for thing, _ in counts.most_common(POPULAR_THINGS)]
    rows: list[Row] = []
    for things in shown:
        image: str | int = base64_jpeg(drawing.draw_things(rng, things))
        categories: dict[tuple[Thing, str], list[str]] = {}
        for place, category in enumerate(POPE_CATEGORIES):
            categories.setdefault((things[place % len(things)], "Yes"), []).append(category)
            categories.setdefault((_absent(rng, things, category, frequent), "No"), []).append(category)
        for (thing, answer), names in categories.items():
            row: Row = {"index": len(rows), "question": questions.yes_no(thing), "answer": answer}
            rows.append(row | {"category": ",".join(names), "image": image, SCENE: scenes.content_of(things)})
            image = image if isinstance(image, int) else len(rows) - 1
    return rows


def _absent(rng: random.Random, things: list[Thing], category: str, frequent: list[Thing]) -> Thing:
    if category == "adversarial":
        return rng.choice(questions.absent_things(things, shared=2))
    pool = frequent if category == "popular" else scenes.ALL_THINGS
    return rng.choice([thing for thing in pool if thing not in things])


def textvqa(rng: random.Random, count: int = 40) -> list[Row]:
    """Ten people's answers to each question, one or two of them careless."""
    rows: list[Row] = []
    for index in range(count):
        number = scenes.random_number(rng, held_out=True)
        answers = [number] * 10
        for place in rng.sample(range(10), rng.randint(0, 2)):
            answers[place] = rng.choice(("unanswerable", f"number {number}", number[:-1]))
        image = base64_jpeg(drawing.draw_number(rng, number))
        row: Row = {"index": index, "question": questions.NUMBER_QUESTION, "answer": str(answers)}
        rows.append(row | {"split": "val", "image": image, SCENE: scenes.content_of(number)})
    return rows


def chartqa(rng: random.Random, count: int = 40) -> list[Row]:
    """One bar's value; the two splits ask in different words."""
    rows: list[Row] = []
    for index in range(count):
        bars = scenes.random_bars(rng, held_out=True)
        asked: Bar = rng.choice(bars)
        split, wording = CHART_SPLITS[index % 2], questions.BAR_QUESTIONS[index % 2]
        row: Row = {"index": index, "question": wording.format(asked.colour), "answer": str(asked.value)}
        image = base64_jpeg(drawing.draw_bars(rng, bars))
        rows.append(row | {"split": split, "image": image, SCENE: scenes.content_of(bars)})
    return rows


def captions(rng: random.Random, count: int = 40) -> list[Row]:
    """As VLMEvalKit's COCO_VAL: `answer` is the text of a list of reference captions."""
    rows: list[Row] = []
    for index in range(count):
        things = _held_out_things(rng)
        row: Row = {"index": index, "question": questions.CAPTION_QUESTION, "answer": str(_references(things))}
        image = base64_jpeg(drawing.draw_things(rng, things))
        rows.append(row | {"image": image, SCENE: scenes.content_of(things)})
    return rows


def _references(things: list[Thing]) -> list[str]:
    plain = questions.caption(things)
    reversed_order = questions.caption(things[::-1])
    numbered = joined([f"one {thing}" for thing in things])
    return [plain, f"there is {plain}", f"{reversed_order} on a light background", numbered]


def _held_out_things(rng: random.Random) -> list[Thing]:
    """Two or three things with a question to be asked, and a thing not there made of a colour and a shape that are."""
    while True:
        things = scenes.random_things(rng, held_out=True, count=rng.choice((2, 3)))
        if questions.attribute_questions(things) and questions.absent_things(things, shared=2):
            return things


def replay_answers(rng: random.Random, rows: Sequence[Row]) -> list[dict[str, str]]:
    """Answers as if made elsewhere: about three in four right, two that are neither yes nor no."""
    answers = []
    for row in rows:
        right, wrong = ("Yes", "No") if row["answer"] == "Yes" else ("No", "Yes")
        word = right if rng.random() < 0.75 else wrong
        answers.append({"id": str(row["index"]), "answer": rng.choice((word, f"{word}.", f"{word}, I think."))})
    for place, text in zip(rng.sample(range(len(answers)), 2), UNPARSABLE_ANSWERS, strict=True):
        answers[place]["answer"] = text
    return answers


BENCHMARKS: dict[str, Callable[[random.Random], list[Row]]] = {
    "demo_mmbench": mmbench,
    "demo_pope": pope,
    "demo_textvqa": textvqa,
    "demo_chartqa": chartqa,
    "demo_captions": captions,
}


def write_all(folder: Path) -> None:
    """Writes the files, and a manifest of their rows, columns, SHA-256 and of what their images show."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, dict[str, str | int | list[str]]] = {}
    for name, draw in BENCHMARKS.items():
        rows = draw(random.Random(f"{SEED} {name}"))
        path = folder / f"{name}.tsv"
        with path.open("w", newline="", encoding="utf-8") as file:
            columns = [name for name in rows[0] if name != SCENE]
            writer = csv.DictWriter(file, columns, extrasaction="ignore", delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        shown = sorted({str(row[SCENE]) for row in rows})
        manifest[path.name] = {"rows": len(rows), "columns": columns, "sha256": _sha256(path), "scenes": shown}
        if name == "demo_pope":
            replay = folder / "replay_pope.jsonl"
            answers = replay_answers(random.Random(f"{SEED} replay"), rows)
            replay.write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")
            manifest[replay.name] = {"rows": len(answers), "columns": ["id", "answer"], "sha256": _sha256(replay)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=FOLDER)
    write_all(parser.parse_args().output)
