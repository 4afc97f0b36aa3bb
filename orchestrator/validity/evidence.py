"""What judging a cell takes: where its stages worked and what was planned for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.executors.protocol import Outcome
from orchestrator.job import MetricSpec


@dataclass(frozen=True, kw_only=True)
class StageEvidence:
    """Where one stage worked, what was planned for it, and how its job ended.

    `folder` is the stage's own (`…/out/<stage id>`), `out` the job's; `log` the job's log. What was planned and is
    None here is not known to whoever judges, and not compared.
    """

    id: str
    folder: Path
    out: Path
    environment: str
    transformers: str | None
    outcome: Outcome
    log: Path | None = None
    environment_digest: str | None = None
    adapter: str | None = None  # name and version, of an infer stage


@dataclass(frozen=True, kw_only=True)
class CellEvidence:
    """All that judging a cell takes. `ids` and `groups` are those chosen from the benchmark's index.

    `loads` is how often the model must have been loaded for this cell's job; None where that says nothing.
    """

    root: Path  # the run's folder: every `where` is relative to it, and no link below it is followed
    model: str
    benchmark: str
    infer: StageEvidence
    evaluate: StageEvidence
    ids: frozenset[str]
    groups: frozenset[str]
    whole: bool
    metrics: Sequence[MetricSpec]
    loads: int | None = 1
    max_failed_samples: float = 0  # percent of the samples
