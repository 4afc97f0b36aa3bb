"""Cells of a table that hold several texts, as official files write them; nothing in a cell is run."""

from __future__ import annotations

import ast
from typing import Any


def texts(value: str) -> list[str]:
    """The strings of a Python list of strings, as official files write several in a cell; else the one text itself."""
    found = read_value(value) if like_a_list(value) else None
    return [value] if found is None else [str(item) for item in found]


def like_a_list(value: object) -> bool:
    return isinstance(value, str) and value[:1] == "[" and value[-1:] == "]"


def read_value(text: str) -> Any:
    """As `literal`; None where it is none."""
    try:
        return literal(text)
    except ValueError:
        return None


def literal(text: Any, *_: object) -> Any:
    """What a text says as Python writes texts, numbers and lists; takes the place of `eval`. Raises ValueError for others."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{str(text)[:40]!r} is no plain value such as ['a', 'b']: it is not run as Python") from error
