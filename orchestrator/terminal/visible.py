"""Text that others wrote, made safe to show: control and direction characters become visible escapes."""

from __future__ import annotations

import re

# C0 and C1 controls without newline and tab, line and paragraph separators, direction marks (they reorder what one
# reads), lone surrogates (no file can hold them) and the two non-characters that XML refuses.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_BREAKS = re.compile(r"[ ]*[\t\n\r\x0b\x0c\x85\u2028\u2029][\s]*")


def visible(text: str) -> str:
    r"""The text with every unsafe character written out.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], text)


def one_line(text: str, width: int | None = None) -> str:
    """`visible`, on one line, cut to `width` characters with an ellipsis."""
    flat = visible(_BREAKS.sub(" ", text.strip()))
    return flat if width is None or len(flat) <= width else flat[: max(width - 1, 0)] + "…"


def cut(text: str, limit: int, pointer: str) -> str:
    """At most `limit` characters; what is left out is counted, and `pointer` says where the whole text is."""
    if len(text) <= limit:
        return text
    note = f"… [cut: {len(text):,} characters in all; the whole text is in {pointer}]"
    return (text[: max(limit - len(note), 0)] + note)[:limit]
