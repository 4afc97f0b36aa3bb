"""Asks a trained LLaVA every question of the demo's files: python -m demo.score_llava [--write] [--answers FILE]

Plain greedy generation on the files as written, without VLMEvalKit, so that a wrong number of the whole machine can be
told from a wrong number of the model. Runs under transformers 4.37.2 and 4.42.4.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import math
import os
import time
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from demo import questions

DATA = Path(__file__).parent / "data"
MODEL = Path(__file__).parent / "models" / "tiny-llava"
CIRCULAR_STEP = 1_000_000
BASE64_AT_LEAST = 65  # VLMEvalKit: a shorter image field is the index of the row that has the image

Row = dict[str, str]
Scores = dict[str, dict[str, float | int | str | list[float]]]


def read_rows(name: str) -> list[Row]:
    """The file's rows, each with its own image."""
    with (DATA / f"{name}.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    images = {row["index"]: row["image"] for row in rows}
    return [row | {"image": images.get(row["image"], row["image"])} for row in rows]


def prompt_of(name: str, row: Row) -> str:
    if name == "demo_mmbench":
        return questions.multiple_choice(row["question"], [row[letter] for letter in questions.LETTERS])
    if name in ("demo_textvqa", "demo_chartqa"):
        return questions.short_answer(row["question"])
    return row["question"]


class Answerer:
    """A loaded checkpoint."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.model = LlavaForConditionalGeneration.from_pretrained(folder).float().eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def answer(self, name: str, row: Row) -> str:
        """Greedy, with VLMEvalKit's wording."""
        image = Image.open(io.BytesIO(base64.b64decode(row["image"]))).convert("RGB")
        prompt = questions.chat_prompt(prompt_of(name, row))
        inputs = self.processor(text=prompt, images=image, return_tensors="pt")
        output = self.model.generate(**inputs, do_sample=False, max_new_tokens=24)
        new_tokens = output[0, inputs["input_ids"].shape[1] :]
        return str(self.processor.tokenizer.decode(new_tokens, skip_special_tokens=True)).strip()


def listed(row: Row) -> list[str]:
    """All reference answers of a row that has several."""
    return [str(answer) for answer in literal_eval(row["answer"])]


def most_given(row: Row) -> str:
    return Counter(listed(row)).most_common(1)[0][0]


def is_right(name: str, row: Row, answer: str) -> bool:
    """Exact; a bar's value may be 5 % off, as in ChartQA (arXiv 2203.10244, end of section 5.1)."""
    if name == "demo_textvqa":
        return answer == most_given(row)
    if name == "demo_captions":
        return answer in listed(row)
    if name == "demo_chartqa":
        wanted = float(row["answer"])
        return answer.isdecimal() and abs(float(answer) - wanted) <= 0.05 * wanted
    return answer == row["answer"]


def right_units(name: str, rows: Sequence[Row], answers: Sequence[str]) -> list[bool]:
    """One verdict per scored unit: an MMBench question with all its copies is one."""
    units: dict[int, bool] = {}
    for row, answer in zip(rows, answers, strict=True):
        unit = int(row["index"]) % CIRCULAR_STEP if name == "demo_mmbench" else int(row["index"])
        units[unit] = units.get(unit, True) and is_right(name, row, answer)
    return list(units.values())


def chance_of(name: str, rows: Sequence[Row]) -> float:
    """What guessing brings: a consistent guess among four options, else the best constant answer."""
    if name == "demo_mmbench":
        return 1 / len(questions.LETTERS)
    several = name in ("demo_textvqa", "demo_captions")
    candidates = {most_given(row) if several else row["answer"] for row in rows}
    return max(sum(right_units(name, rows, [constant] * len(rows))) for constant in candidates) / len(rows)


def wilson(right: int, n: int, z: float = 1.959964) -> list[float]:
    """The 95 % score interval of Wilson (1927) for a proportion."""
    share, square = right / n, z * z
    centre = share + square / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return [round((centre + sign * half) / (1 + square / n), 4) for sign in (-1, 1)]


def ask_all(folder: Path) -> dict[str, dict[str, str]]:
    """Answers by benchmark and index."""
    answerer = Answerer(folder)
    names = sorted(path.stem for path in DATA.glob("demo_*.tsv"))
    return {name: {row["index"]: answerer.answer(name, row) for row in read_rows(name)} for name in names}


def score(answers: dict[str, dict[str, str]]) -> Scores:
    """Per benchmark: scored units, right ones, accuracy, interval, chance."""
    scores: Scores = {}
    for name, by_index in answers.items():
        rows = read_rows(name)
        verdicts = right_units(name, rows, [by_index[row["index"]] for row in rows])
        right, n = sum(verdicts), len(verdicts)
        scores[name] = {
            "n": n,
            "right": right,
            "accuracy": round(right / n, 4),
            "wilson_95": wilson(right, n),
            "chance": round(chance_of(name, rows), 4),
        }
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--write", action="store_true", help="put the scores into the model's training.json")
    parser.add_argument("--answers", type=Path, help="write all answers to this JSON file")
    arguments = parser.parse_args()
    started = time.monotonic()
    answers = ask_all(arguments.model)
    seconds = time.monotonic() - started
    scores = score(answers)
    for name, values in scores.items():
        print(f"{name:14}", *(f"{key} {value}" for key, value in values.items()), sep="  ")
    count = sum(len(by_index) for by_index in answers.values())
    print(f"transformers {transformers.__version__}: {count} answers, {seconds / count:.3f} s each")
    if arguments.answers:
        arguments.answers.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    if arguments.write:
        path = arguments.model / "training.json"
        facts = json.loads(path.read_text(encoding="utf-8")) | {"scores": scores}
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
