"""What the demo's images show, and which of it is kept from training.

Pure and standard library only, so that the split can be checked without an imaging library. Every scene has a
content string; a fifth of all contents, picked by hash, is never trained on and is all that the benchmarks ask about.
"""

from __future__ import annotations

import hashlib
import random
from typing import NamedTuple

COLOURS = {
    "red": (220, 40, 40),
    "green": (30, 160, 60),
    "blue": (40, 70, 220),
    "yellow": (240, 215, 40),
    "purple": (140, 50, 170),
    "orange": (245, 140, 30),
}
SHAPES = ("circle", "square", "triangle", "cross", "diamond")
BAR_VALUES = tuple(range(10, 100, 5))
HELD_OUT_SHARE = 0.2


class Thing(NamedTuple):
    """One coloured shape."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


class Bar(NamedTuple):
    """One bar of a chart; its value is its height in pixels."""

    colour: str
    value: int


ALL_THINGS = tuple(Thing(colour, shape) for colour in COLOURS for shape in SHAPES)


def content_of(scene: list[Thing] | list[Bar] | str) -> str:
    """The scene's content, whatever its order, places, sizes and shades."""
    if isinstance(scene, str):
        return f"number {scene}"
    return ", ".join(sorted(" ".join(str(part) for part in item) for item in scene))


def is_held_out(content: str) -> bool:
    """True for the fifth of all contents that training never sees."""
    first_bytes = hashlib.sha256(content.encode()).digest()[:4]
    return int.from_bytes(first_bytes, "big") < HELD_OUT_SHARE * 2**32


def random_things(rng: random.Random, *, held_out: bool, count: int) -> list[Thing]:
    """`count` different coloured shapes, in reading order."""
    while True:
        things = rng.sample(ALL_THINGS, count)
        if is_held_out(content_of(things)) == held_out:
            return things


def random_number(rng: random.Random, *, held_out: bool) -> str:
    """A number of two or three digits."""
    while True:
        number = str(rng.randint(10, 99) if rng.random() < 0.4 else rng.randint(100, 999))
        if is_held_out(content_of(number)) == held_out:
            return number


def random_bars(rng: random.Random, *, held_out: bool) -> list[Bar]:
    """Three bars of different colours, from left to right."""
    while True:
        bars = [Bar(colour, rng.choice(BAR_VALUES)) for colour in rng.sample(list(COLOURS), 3)]
        if is_held_out(content_of(bars)) == held_out:
            return bars
