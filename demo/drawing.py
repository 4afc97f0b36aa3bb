"""Draws scenes as images of 112 x 112 pixels (VLMEvalKit enlarges what is under 100 pixels, so this stays as it is).

Each drawing also returns its patch targets: what stands in each of the 7 x 7 patches that the model will see. Only the
training uses them. Needs Pillow and numpy; digits are our own 5 x 7 bitmaps, so no font is needed.
"""

from __future__ import annotations

import io
import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo.scenes import BAR_VALUES, COLOURS, SHAPES, Bar, Thing

SIDE = 112
GRID = 7
IGNORED = -100
COLOUR, SHAPE, DIGIT, HEIGHT = range(4)  # what is told of each patch
TARGET_CLASSES = (1 + len(COLOURS), 1 + len(SHAPES), 1 + 10, 1 + len(BAR_VALUES))  # 0: nothing there
INKS = ((20, 20, 20), (40, 70, 220), (220, 40, 40), (30, 130, 60))
BASELINE = 108

# Each digit is seven rows of five bits.
DIGITS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)

Targets = NDArray[np.int64]
Rgb = tuple[int, int, int]


def draw_things(rng: random.Random, things: list[Thing]) -> tuple[Image.Image, Targets]:
    """At most four coloured shapes, one to a quarter, in reading order."""
    image, pen = _canvas(rng)
    targets = _no_targets()
    targets[[COLOUR, SHAPE]] = 0
    for thing, quarter in zip(things, sorted(rng.sample(range(4), len(things))), strict=True):
        radius = rng.uniform(17, 25)
        x = 28 + 56 * (quarter % 2) + rng.uniform(-4, 4)
        y = 28 + 56 * (quarter // 2) + rng.uniform(-4, 4)
        _draw_shape(pen, thing.shape, x, y, radius, _shade(rng, COLOURS[thing.colour]))
        patches = _patches(x - radius, y - radius, x + radius, y + radius)
        targets[COLOUR][patches] = 1 + list(COLOURS).index(thing.colour)
        targets[SHAPE][patches] = 1 + SHAPES.index(thing.shape)
    return image, targets


def draw_number(rng: random.Random, number: str) -> tuple[Image.Image, Targets]:
    """Two or three digits, near the left edge."""
    image, pen = _canvas(rng)
    targets = _no_targets()
    targets[DIGIT] = 0
    ink = _shade(rng, rng.choice(INKS))
    dot = rng.uniform(4.8, 5.2)
    left, top = 14 + rng.randint(-4, 4), 38 + rng.randint(-4, 4)
    for place, digit in enumerate(number):
        x = left + 6 * dot * place
        targets[DIGIT][_patches(x - dot / 2, top, x + 5.5 * dot, top + 7 * dot)] = 1 + int(digit)
        for row, bits in enumerate(DIGITS[int(digit)]):
            for column in range(5):
                if bits >> (4 - column) & 1:
                    x0, y0 = round(x + column * dot), round(top + row * dot)
                    x1, y1 = round(x + (column + 1) * dot) - 1, round(top + (row + 1) * dot) - 1
                    pen.rectangle((x0, y0, x1, y1), fill=ink)
    return image, targets


def draw_bars(rng: random.Random, bars: list[Bar]) -> tuple[Image.Image, Targets]:
    """A bar chart with ticks at 25, 50, 75 and 100; one pixel is one unit."""
    image, pen = _canvas(rng)
    targets = _no_targets()
    targets[[COLOUR, HEIGHT]] = 0
    pen.line((6, BASELINE, 108, BASELINE), fill=(0, 0, 0))
    pen.line((6, BASELINE - 100, 6, BASELINE), fill=(0, 0, 0))
    for tick in (25, 50, 75, 100):
        pen.line((3, BASELINE - tick, 6, BASELINE - tick), fill=(0, 0, 0))
    for place, bar in enumerate(bars):
        x, width = 12 + 33 * place + rng.randint(0, 4), rng.randint(18, 25)
        top = BASELINE - bar.value
        pen.rectangle((x, top, x + width, BASELINE - 1), fill=_shade(rng, COLOURS[bar.colour]))
        targets[COLOUR][_patches(x - 2, top - 4, x + width + 2, BASELINE)] = 1 + list(COLOURS).index(bar.colour)
        targets[HEIGHT][_patches(x - 2, 0, x + width + 2, SIDE)] = 1 + BAR_VALUES.index(bar.value)
    return image, targets


def jpeg_bytes(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _canvas(rng: random.Random) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    grey = rng.randint(225, 255)
    image = Image.new("RGB", (SIDE, SIDE), (grey, grey, grey))
    return image, ImageDraw.Draw(image)


def _no_targets() -> Targets:
    return np.full((len(TARGET_CLASSES), GRID, GRID), IGNORED, dtype=np.int64)


def _patches(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.bool_]:
    """The patches whose centres lie in a box, as a mask of GRID x GRID."""
    centres = (np.arange(GRID) + 0.5) * SIDE / GRID
    rows, columns = (centres >= y0) & (centres <= y1), (centres >= x0) & (centres <= x1)
    return rows[:, None] & columns[None, :]


def _shade(rng: random.Random, colour: Rgb) -> Rgb:
    red, green, blue = (min(255, max(0, part + rng.randint(-18, 18))) for part in colour)
    return red, green, blue


def _draw_shape(pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, colour: Rgb) -> None:
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif shape == "square":
        half = 0.85 * radius
        pen.rectangle((x - half, y - half, x + half, y + half), fill=colour)
    elif shape == "triangle":
        pen.polygon([(x, y - radius), (x - radius, y + 0.85 * radius), (x + radius, y + 0.85 * radius)], fill=colour)
    elif shape == "diamond":
        pen.polygon([(x, y - radius), (x + 0.7 * radius, y), (x, y + radius), (x - 0.7 * radius, y)], fill=colour)
    else:
        arm = 0.33 * radius
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=colour)
        pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=colour)
