"""The console itself and the few signs that all its parts use: never colour alone."""

from __future__ import annotations

import io
import os
from typing import TextIO

from rich.console import Console
from rich.text import Text

from orchestrator.terminal.visible import one_line, visible

STYLES = {
    "ok": "green",
    "failed": "bold red",
    "infra": "yellow",
    "timeout": "yellow",
    "oom": "red",
    "invalid": "bold magenta",
    "skipped": "bright_black",
    "run": "cyan",
    "reused": "green",
    "warn": "yellow",
    "missing": "bold red",
}
_GLYPHS = {
    "ok": "✓",
    "failed": "✗",
    "infra": "~",
    "timeout": "◷",
    "oom": "▲",
    "invalid": "!",
    "skipped": "–",
    "run": "▶",
    "reused": "=",
    "warn": "!",
    "missing": "✗",
    "baseline": "◦",
}
_PLAIN = {"✓": "+", "✗": "x", "◷": "T", "▲": "^", "–": "-", "▶": ">", "◦": "o"}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def make_console(file: TextIO | None = None, *, stderr: bool = False, width: int | None = None) -> Console:
    """A console that takes text as it is (no markup, no emoji, no guessing what to colour).

    rich itself respects NO_COLOR, COLUMNS and TERM=dumb; where nobody says how wide a file is, it is 100.
    """
    console = Console(file=file, stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
    if width is None and not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 100
    if isinstance(console.file, io.TextIOWrapper):
        # A terminal that is not UTF-8 shows escapes for what it lacks; it must not end a run.
        console.file.reconfigure(errors="backslashreplace")
    return console


def sign(console: Console, status: str) -> str:
    """The glyph of a status, in ASCII where the terminal has no more."""
    glyph = _GLYPHS.get(status, "?")
    return _PLAIN.get(glyph, glyph) if console.options.ascii_only else glyph


def mark(console: Console, count: int) -> str:
    """A footnote's number."""
    return f"({count})" if console.options.ascii_only else str(count).translate(_SUPERSCRIPT)


def safe(text: str, style: str = "") -> Text:
    """One line of anybody's text: no markup, no escapes."""
    return Text(one_line(text), style=style)


def safe_block(text: str, style: str = "") -> Text:
    """Several lines of anybody's text."""
    return Text(visible(text), style=style)
