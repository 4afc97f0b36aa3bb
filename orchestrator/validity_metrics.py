"""Judges the numbers of an evaluate stage against what the registry says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.job import MetricSpec, MetricValue, ResultFile
from orchestrator.records import RecordMetric
from orchestrator.stats import proportion_interval


def judge_metrics(specs: Sequence[MetricSpec], result: ResultFile, *, whole: bool) -> list[RecordMetric]:
    """The numbers with unit, scale, direction, n and interval; the primary one first.

    On a part of the data a sum with a fixed maximum has no meaning on its scale: such a metric must not be there, and
    the first of the others is primary. Raises ValueError with one line about everything that is wrong.
    """
    allowed = {spec.id: spec for spec in specs if whole or not spec.whole_only}
    if not allowed:
        raise ValueError("no metric of this benchmark stands for a part of the data; run it without --limit")
    primary = next(iter(allowed))
    problems: list[str] = []
    seen: set[str] = set()
    for value in result.metrics:
        spec = allowed.get(value.id)
        problem = f"{value.id} twice" if value.id in seen else _problem(value, spec, value.id == primary, result)
        seen.add(value.id)
        if problem:
            problems.append(problem)
    if primary not in seen:
        problems.append(f"primary metric {primary} is missing")
    if problems:
        raise ValueError("; ".join(problems))
    values = {value.id: value for value in result.metrics}
    return [_scored(values[name], spec, name == primary) for name, spec in allowed.items() if name in values]


def _problem(value: MetricValue, spec: MetricSpec | None, primary: bool, result: ResultFile) -> str:
    if spec is None:
        return f"metric {value.id} is none of the benchmark's for these samples"
    if not math.isfinite(value.value):
        return f"{value.id} is {value.value}"
    slack = 1e-6 * (spec.max - spec.min)
    if not spec.min - slack <= value.value <= spec.max + slack:
        return f"{value.id} is {value.value:g}, outside {spec.min:g}..{spec.max:g} {spec.unit}"
    # A scorer that drops rows it cannot read would shrink n and lift the score: the primary number stands on all.
    if primary and value.n not in (result.n_units, result.n_rows):
        return f"{value.id} stands on {value.n} of {result.n_units} units"
    if value.n < 1:
        return f"{value.id} stands on nothing"
    return ""


def _scored(value: MetricValue, spec: MetricSpec, primary: bool) -> RecordMetric:
    interval = (
        proportion_interval(value.value, value.n, minimum=spec.min, maximum=spec.max) if spec.proportion else None
    )
    return RecordMetric(
        id=value.id,
        value=min(max(value.value, spec.min), spec.max),
        unit=spec.unit,
        min=spec.min,
        max=spec.max,
        higher_is_better=spec.higher_is_better,
        primary=primary,
        n=value.n,
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
    )
