"""The training material: lessons (an image and questions about it), and their packing into batches.

All questions about an image share one prefix, the image; by a 4-D attention mask each sees the prefix and itself alone.
The loss is on answers only.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from demo import drawing, questions, scenes
from demo.drawing import IGNORED, Targets
from demo.scenes import COLOURS, SHAPES, Thing
from demo.tiny_llava import BEGIN, END, IMAGE_SIDE, PAD, words_of

BEFORE_IMAGE = "USER: "


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Exchanges about one image (3 x IMAGE_SIDE x IMAGE_SIDE bytes), or about a text alone."""

    exchanges: Sequence[tuple[str, str]]
    pixels: NDArray[np.uint8] | None = None
    targets: Targets | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Packed lessons. Token tensors are lessons x length; `segments` numbers a token's exchange, 0 is padding.

    `labels` holds the next token where it is part of an answer, `right_option` 0 or 1 at the words of an option.
    """

    prefix: torch.Tensor
    tokens: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor
    right_option: torch.Tensor
    pixels: torch.Tensor | None
    targets: torch.Tensor | None


def things_lesson(rng: random.Random) -> Lesson:
    things = scenes.random_things(rng, held_out=False, count=rng.choice((1, 2, 2, 3)))
    attributes = questions.attribute_questions(things)
    exchanges = [(questions.CAPTION_QUESTION, " " + questions.caption(things))]
    for _ in range(2):
        exchanges += [(questions.yes_no(rng.choice(things)), "Yes"), (questions.yes_no(_absent(rng, things)), "No")]
    if attributes:
        asked = rng.choice(attributes)
        exchanges.append((questions.short_answer(asked.text), " " + asked.answer))
        exchanges += [_multiple_choice(rng, *rng.choice(attributes)) for _ in range(2)]
    if rng.random() < 0.3:
        exchanges.append(_which_option(rng))
    return _illustrated(rng, exchanges, *drawing.draw_things(rng, things))


def number_lesson(rng: random.Random) -> Lesson:
    number = scenes.random_number(rng, held_out=False)
    exchanges = [(questions.short_answer(questions.NUMBER_QUESTION), number)]
    return _illustrated(rng, exchanges, *drawing.draw_number(rng, number))


def bars_lesson(rng: random.Random) -> Lesson:
    bars = scenes.random_bars(rng, held_out=False)
    wordings = [questions.short_answer(rng.choice(questions.BAR_QUESTIONS).format(bar.colour)) for bar in bars]
    exchanges = [(wording, str(bar.value)) for wording, bar in zip(wordings, bars, strict=True)]
    return _illustrated(rng, exchanges, *drawing.draw_bars(rng, bars))


def text_lesson(rng: random.Random) -> Lesson:
    """Words instead of an image: how options and letters go together is learnt before seeing is."""
    things = scenes.random_things(rng, held_out=False, count=rng.choice((1, 2, 2, 3)))
    told = " " + questions.caption(things) + "\n"
    attributes = questions.attribute_questions(things)
    kind = rng.random()
    if kind < 0.45 or (kind < 0.93 and not attributes):
        exchange = _which_option(rng)
    elif kind < 0.85:
        question, answer = _multiple_choice(rng, *rng.choice(attributes))
        exchange = (told + question, answer)
    elif kind < 0.93:
        asked = rng.choice(attributes)
        exchange = (told + questions.short_answer(asked.text), " " + asked.answer)
    elif rng.random() < 0.5:
        exchange = (told + questions.yes_no(rng.choice(things)), "Yes")
    else:
        exchange = (told + questions.yes_no(_absent(rng, things)), "No")
    return Lesson(exchanges=[exchange])


def make_batch(
    rng: random.Random, lesson: Callable[[random.Random], Lesson], size: int, vocab: dict[str, int]
) -> Batch:
    """`size` lessons of one kind, packed and padded on the right."""
    lessons = [lesson(rng) for _ in range(size)]
    prefix = [BEGIN, *(vocab[word] for word in words_of(BEFORE_IMAGE))]
    patches = 0 if lessons[0].pixels is None else drawing.GRID**2
    rows = [_packed(item, len(prefix) + patches, vocab) for item in lessons]
    length = max(row.shape[1] for row in rows)
    padding = np.array([PAD, 0, 0, IGNORED, IGNORED])
    packed = np.stack([np.hstack([row, np.tile(padding[:, None], length - row.shape[1])]) for row in rows], axis=1)
    tokens, positions, segments, labels, right_option = torch.from_numpy(packed)
    pixels = [item.pixels for item in lessons if item.pixels is not None]
    targets = [item.targets for item in lessons if item.targets is not None]
    return Batch(
        prefix=torch.tensor(prefix),
        tokens=tokens,
        positions=positions,
        segments=segments,
        labels=labels,
        right_option=right_option,
        pixels=torch.from_numpy(np.stack(pixels)) if pixels else None,
        targets=torch.from_numpy(np.stack(targets)) if targets else None,
    )


def _packed(lesson: Lesson, prefix_length: int, vocab: dict[str, int]) -> NDArray[np.int64]:
    """Five rows: token, position, segment, label, right option."""
    columns: list[tuple[int, int, int, int, int]] = []
    for segment, (question, answer) in enumerate(lesson.exchanges, start=1):
        asked, answered = words_of(questions.after_image(question)), words_of(answer)
        words = asked + answered
        next_ids = [vocab[word] for word in words[1:]] + [END]
        for place, word in enumerate(words):
            label = next_ids[place] if place >= len(asked) - 1 else IGNORED
            columns.append((vocab[word], prefix_length + place, segment, label, _option_mark(words, place, answer)))
    packed: NDArray[np.int64] = np.array(columns, dtype=np.int64).T
    return packed


def _option_mark(words: list[str], place: int, answer: str) -> int:
    """1 at the first word of the right option, 0 at that of a wrong one."""
    if place < 2 or words[place - 1] != "." or words[place - 2] not in questions.LETTERS:
        return IGNORED
    return int(words[place - 2] == answer)


def _illustrated(rng: random.Random, exchanges: list[tuple[str, str]], image: Image.Image, targets: Targets) -> Lesson:
    """With the image as a benchmark file would deliver it: mostly through JPEG."""
    if rng.random() < 0.7:
        image = Image.open(io.BytesIO(drawing.jpeg_bytes(image, rng.randint(70, 95)))).convert("RGB")
    small = image.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
    return Lesson(exchanges=exchanges, pixels=np.asarray(small, dtype=np.uint8).transpose(2, 0, 1), targets=targets)


def _absent(rng: random.Random, things: list[Thing]) -> Thing:
    for shared in (rng.choice((2, 2, 1, 0)), 1):
        if found := questions.absent_things(things, shared=shared):
            return rng.choice(found)
    raise AssertionError("every scene lacks something that shares one attribute with it")


def _multiple_choice(rng: random.Random, question: str, answer: str, pool: Sequence[str]) -> tuple[str, str]:
    """Now and then without the white space at its end, which some callers strip."""
    options = questions.four_options(rng, answer, pool)
    asked = questions.multiple_choice(question, options)
    return asked.strip() if rng.random() < 0.2 else asked, questions.LETTERS[options.index(answer)]


def _which_option(rng: random.Random) -> tuple[str, str]:
    pool = rng.choice((tuple(COLOURS), SHAPES))
    answer = rng.choice(pool)
    return _multiple_choice(rng, questions.which_option(answer), answer, pool)
