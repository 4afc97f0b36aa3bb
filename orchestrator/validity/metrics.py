"""Judges the numbers of an evaluate stage against what the registry says of them, and against their own units."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.job import MetricSpec, MetricValue, ResultFile
from orchestrator.records.record import RecordMetric
from orchestrator.validity.stats import between, proportion_interval
from orchestrator.validity.units import Units


def primary_spec(specs: Sequence[MetricSpec], *, whole: bool) -> MetricSpec | None:
    """On a part of the data a sum with a fixed maximum has no meaning: the first of the others is primary."""
    return next((spec for spec in specs if whole or not spec.whole_only), None)


def judge_metrics(specs: Sequence[MetricSpec], result: ResultFile, units: Units, *, whole: bool) -> list[RecordMetric]:
    """The numbers with unit, scale, direction, n, interval and, where units failed, bounds; the primary one first.

    Where units failed, only numbers that have bounds are given. Raises ValueError with one line about everything that
    is wrong.
    """
    primary = primary_spec(specs, whole=whole)
    if primary is None:
        raise ValueError("no metric of this benchmark stands for a part of the data; run it without --limit")
    allowed = {spec.id: spec for spec in specs if whole or not spec.whole_only}
    problems: list[str] = []
    seen: set[str] = set()
    for value in result.metrics:
        spec = allowed.get(value.id)
        problem = f"{value.id} twice" if value.id in seen else _problem(value, spec, spec is primary, result, units)
        seen.add(value.id)
        if problem:
            problems.append(problem)
    if primary.id not in seen:
        problems.append(f"primary metric {primary.id} is missing")
    if problems:
        raise ValueError("; ".join(problems))
    values = {value.id: value for value in result.metrics}
    found = [(values[name], spec) for name, spec in allowed.items() if name in values]
    bounded = [(value, spec) for value, spec in found if not units.failed or _has_bounds(value, spec, units)]
    return [_scored(value, spec, units, primary=spec is primary) for value, spec in bounded]


def _problem(value: MetricValue, spec: MetricSpec | None, primary: bool, result: ResultFile, units: Units) -> str:
    if spec is None:
        return f"metric {value.id} is none of the benchmark's for these samples"
    if not math.isfinite(value.value):
        return f"{value.id} is {value.value}"
    slack = 1e-6 * (spec.max - spec.min)
    if not spec.min - slack <= value.value <= spec.max + slack:
        return f"{value.id} is {value.value:g}, outside {spec.min:g}..{spec.max:g} {spec.unit}"
    # A scorer that drops rows it cannot read would shrink n and lift the score: the primary number stands on all.
    standing = (result.n_units,) if units.failed else (result.n_units, result.n_rows)
    if primary and value.n not in standing:
        return f"{value.id} stands on {value.n} of {result.n_units} units"
    if value.n < 1:
        return f"{value.id} stands on nothing"
    return _against_units(value, spec, units) if primary else ""


def _against_units(value: MetricValue, spec: MetricSpec, units: Units) -> str:
    """The number and the units are two readings of one scorer: a mean must be that of its units."""
    if not (spec.mean or spec.proportion):
        return ""
    if units.scores is None:
        return f"{value.id} has no bounds, for its units have no scores" if units.failed else ""
    mean = between(spec.min, spec.max, sum(units.scores) / len(units.scores))
    if math.isclose(mean, value.value, rel_tol=1e-6, abs_tol=1e-9 * (spec.max - spec.min)):
        return ""
    return f"{value.id} is {value.value:.10g}, but the mean of its {len(units.scores)} units is {mean:.10g}"


def _has_bounds(value: MetricValue, spec: MetricSpec, units: Units) -> bool:
    return (spec.mean or spec.proportion) and value.n == units.answered


def _scored(value: MetricValue, spec: MetricSpec, units: Units, *, primary: bool) -> RecordMetric:
    interval = (
        proportion_interval(value.value, value.n, minimum=spec.min, maximum=spec.max) if spec.proportion else None
    )
    low, high = _bounds(value, spec, units, primary=primary) if units.failed else (None, None)
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
        bound_low=low,
        bound_high=high,
    )


def _bounds(value: MetricValue, spec: MetricSpec, units: Units, *, primary: bool) -> tuple[float, float]:
    """The mean over all units, the failed ones at the lower and at the upper end of the scale."""
    own = units.scores if primary else None  # the file holds the primary number's units
    answered = sum(own) if own is not None else (value.value - spec.min) / (spec.max - spec.min) * units.answered
    every = units.answered + units.failed
    return between(spec.min, spec.max, answered / every), between(spec.min, spec.max, (answered + units.failed) / every)
