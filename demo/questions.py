"""How the demo asks: VLMEvalKit's wording for each dataset type, and what can be asked about a scene.

The prompts must be those that VLMEvalKit 0.0.18 builds (`build_prompt` of ImageMCQDataset, ImageYORNDataset and
ImageVQADataset), since the model is trained on them; pure, standard library only.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from demo.scenes import ALL_THINGS, COLOURS, SHAPES, Thing

LETTERS = "ABCD"
NUMBER_QUESTION = "What number is written in the image?"
BAR_QUESTIONS = ("What is the value of the {} bar?", "How high is the {} bar?")
CAPTION_QUESTION = "Describe the image."


class AttributeQuestion(NamedTuple):
    """A question about one thing's colour or shape, its answer, and all that the answer could be."""

    text: str
    answer: str
    pool: tuple[str, ...]


def chat_prompt(question: str) -> str:
    """The whole prompt of the model, the image's place included."""
    return f"USER: <image>{after_image(question)}"


def after_image(question: str) -> str:
    return f"\n{question} ASSISTANT:"


def multiple_choice(question: str, options: Sequence[str]) -> str:
    """ImageMCQDataset's wording (a question without a hint)."""
    lines = "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, options, strict=True))
    return f"Question: {question}\nOptions:\n{lines}Please select the correct answer from the options above. \n"


def short_answer(question: str) -> str:
    """ImageVQADataset's wording."""
    return f"{question}\nAnswer the question using a single word or phrase."


def yes_no(thing: Thing) -> str:
    """POPE's wording; VLMEvalKit adds nothing to it."""
    return f"Is there {with_article(thing)} in the image? Please answer yes or no."


def which_option(word: str) -> str:
    """A question that is answered by reading the options alone: it teaches what letters are for."""
    return f"Which option is {word}?"


def attribute_questions(things: list[Thing]) -> list[AttributeQuestion]:
    """All questions that have exactly one answer in this scene."""
    colours, shapes = [t.colour for t in things], [t.shape for t in things]
    found = []
    for thing in things:
        if shapes.count(thing.shape) == 1:
            found.append(AttributeQuestion(f"What colour is the {thing.shape}?", thing.colour, tuple(COLOURS)))
        if colours.count(thing.colour) == 1:
            found.append(AttributeQuestion(f"What shape is the {thing.colour} object?", thing.shape, SHAPES))
    return found


def four_options(rng: random.Random, answer: str, pool: Sequence[str]) -> list[str]:
    """The answer and three wrong ones, shuffled."""
    options = [answer, *rng.sample([other for other in pool if other != answer], 3)]
    rng.shuffle(options)
    return options


def absent_things(things: list[Thing], *, shared: int) -> list[Thing]:
    """Things not in the scene of which `shared` attributes (0, 1 or 2) are: with 2 both are there, on other things."""
    colours, shapes = {t.colour for t in things}, {t.shape for t in things}
    return [t for t in ALL_THINGS if t not in things and (t.colour in colours) + (t.shape in shapes) == shared]


def joined(phrases: Sequence[str]) -> str:
    """`x`, `x and y`, `x, y and z`."""
    return " and ".join([", ".join(phrases[:-1])] * (len(phrases) > 1) + [phrases[-1]])


def caption(things: list[Thing]) -> str:
    """The caption that the model is trained to give."""
    return joined([with_article(thing) for thing in things])


def with_article(thing: Thing) -> str:
    return f"an {thing}" if thing.colour[0] in "aeiou" else f"a {thing}"
