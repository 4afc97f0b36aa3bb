"""Statistics of scores. Closed forms only, so that a record never waits for a scientific library to be imported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; both ends in the unit of the value it belongs to."""

    low: float
    high: float


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of a proportion, without continuity correction, on the scale 0 to 1.

    Source: E. B. Wilson, JASA 22 (1927) 209-212; the same as scipy's `binomtest(k, n).proportion_ci(method="wilson")`.

    Raises:
        ValueError: `n` is not positive or `successes` is outside 0..n.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no proportion")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    spread = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / spread
    half = z / spread * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low=low, high=high)


def proportion_interval(value: float, n: int, *, minimum: float, maximum: float) -> Interval | None:
    """The 95 % Wilson interval of a mean of 0/1 scores shown on the scale `minimum`..`maximum`.

    None where `value` times `n` is no whole number of successes (beyond the rounding of a percentage to two
    decimals): then the units were not 0/1 and the interval would claim what nobody measured.
    """
    if n <= 0 or maximum <= minimum:
        return None
    share = (value - minimum) / (maximum - minimum)
    successes = round(share * n)
    if abs(share * n - successes) > 1e-4 * n or not 0 <= successes <= n:
        return None
    plain = wilson(successes, n)
    return Interval(low=between(minimum, maximum, plain.low), high=between(minimum, maximum, plain.high))


def between(minimum: float, maximum: float, share: float) -> float:
    """What lies at `share` (0 to 1) of the way from one end of a scale to the other."""
    return minimum + share * (maximum - minimum)
