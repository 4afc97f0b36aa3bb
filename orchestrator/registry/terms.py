"""What one may write where names are chosen: a name, a glob, `tag:x`, `all`, and comma lists of these. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from orchestrator.errors import did_you_mean

_FORBIDDEN = re.compile(r"[,*?\[\]!@\x00-\x1f\x7f]|^\s|\s$|^tag:|^all$|^-")


class Tagged(Protocol):
    """What a name is chosen from: models and benchmarks."""

    @property
    def tags(self) -> Sequence[str]: ...

    @property
    def default(self) -> bool: ...


def bad_name(name: str) -> str:
    """Why `name` could not be typed as a term; empty where it can."""
    if not _FORBIDDEN.search(name):
        return ""
    return "a name may not hold , * ? [ ] ! @ or a control character, begin with - or `tag:`, or be `all`"


def split(terms: Iterable[str]) -> list[str]:
    """Comma lists taken apart, order kept, repeats and empty parts dropped.

    >>> split(["a,b", "b", " c ,"])
    ['a', 'b', 'c']
    """
    return list(dict.fromkeys(part.strip() for term in terms for part in term.split(",") if part.strip()))


def is_glob(term: str) -> bool:
    return any(character in term for character in "*?[")


def is_name(term: str) -> bool:
    """Neither `all`, nor a tag, nor a glob."""
    return term != "all" and not term.startswith("tag:") and not is_glob(term)


def covers(term: str, name: str, entry: Tagged | None = None) -> bool:
    """Does `term` choose this entry? Without an entry (environments) `all` is everything and no tag fits."""
    if term == "all":
        return entry is None or entry.default
    if term.startswith("tag:"):
        tags = entry.tags if entry is not None else ()
        return any(fnmatchcase(tag, term[4:]) for tag in tags)
    return fnmatchcase(name, term) if is_glob(term) else name == term


def unknown(term: str, kind: str, entries: Mapping[str, Tagged | None], aliases: Mapping[str, str]) -> str:
    """`unknown model 'lava'; did you mean 'llava'?`, or an empty string where `term` can be meant.

    A glob is never unknown. `aliases` maps other names of a thing (its harness's) to the one used here.
    """
    if term.startswith("tag:"):
        tags = {tag for entry in entries.values() if entry is not None for tag in entry.tags}
        if is_glob(term) or term[4:] in tags:
            return ""
        near = did_you_mean(term[4:], tags)
        return f"no {kind} has the tag {term[4:]!r}{near or _known(tags)}"
    if not is_name(term) or term in entries:
        return ""
    if term in aliases:
        return f"unknown {kind} {term!r}; here it is called {aliases[term]!r}"
    return f"unknown {kind} {term!r}{did_you_mean(term, entries) or _known(entries)}"


def _known(names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return "; there is none"
    return f"; known: {', '.join(listed[:8])}{', …' if len(listed) > 8 else ''}"
