"""What the terminal is asked to show, as plain values: whoever fills them needs no rich."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """A planned cell. `units`, `generations` and `bytes` are None where they are not known before the data is here."""

    model: str
    environment: str
    benchmark: str
    status: Literal["run", "reused", "skipped"]
    why: str = ""
    units: int | None = None
    generations: int | None = None
    bytes: int | None = None
    slot: str = ""  # `cpu`, `1 GPU ≥ 25 GB`


@dataclass(frozen=True, kw_only=True)
class PlanView:
    """A plan as it prints. `seconds` is an estimate; notes are whole sentences (what is not pinned …)."""

    title: str
    rows: tuple[PlanRow, ...]
    fetch_bytes: int | None = None
    free_bytes: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableView:
    """Any table: `right` names the columns of numbers. Every row has one text a column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class DoctorRow:
    """One thing that `doctor` looked at, and what to type where it is not well."""

    what: str
    state: Literal["ok", "warn", "missing"]
    found: str
    remedy: str = ""


def bytes_text(count: int | None) -> str:
    """`412 GB` in powers of 1000, as disks are sold; `?` where it is not known."""
    if count is None:
        return "?"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def clock_text(seconds: float) -> str:
    """`02:41` hours and minutes, as a whole run takes; under an hour `12m`, under a minute `40s`."""
    if seconds < 59.5:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60:02d}:{minutes % 60:02d}"
