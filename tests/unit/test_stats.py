"""Intervals against published values and against scipy, which records must not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orchestrator.layout import PROJECT
from orchestrator.validity.stats import proportion_interval, wilson


def test_wilson_is_the_published_interval() -> None:
    # 8 of 10: statsmodels proportion_confint(8, 10, method="wilson") and scipy's, to the last digit they share.
    interval = wilson(8, 10)
    assert (interval.low, interval.high) == pytest.approx((0.49016247153664183, 0.9433178485456247), abs=1e-14)


def test_wilson_is_the_textbook_interval() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3, printed to four digits.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    found = {case: wilson(*case) for case in published}
    assert {case: (round(i.low, 4), round(i.high, 4)) for case, i in found.items()} == published


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 10), (10, 10), (3, 7), (499, 500), (1, 5000)])
def test_wilson_is_scipys(k: int, n: int) -> None:
    from scipy.stats import binomtest

    reference = binomtest(k, n).proportion_ci(method="wilson")
    assert (wilson(k, n).low, wilson(k, n).high) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_all_right_is_not_certainty() -> None:
    # The normal approximation would say [1, 1].
    assert wilson(10, 10).low < 0.75


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_no_proportion_is_an_error(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson(k, n)


def test_an_interval_keeps_the_scale_of_its_value() -> None:
    percent = proportion_interval(80.0, 10, minimum=0, maximum=100)
    share = proportion_interval(0.8, 10, minimum=0, maximum=1)
    assert percent is not None
    assert share is not None
    assert (percent.low, percent.high) == pytest.approx((100 * share.low, 100 * share.high))


def test_a_rounded_percentage_still_has_its_interval() -> None:
    rounded = proportion_interval(66.67, 3, minimum=0, maximum=100)
    assert rounded is not None
    assert rounded.low == pytest.approx(100 * wilson(2, 3).low)


def test_partial_credit_has_no_wilson_interval() -> None:
    # VQA accuracy gives .3, .6, .9 for a question: 2.7 of 3 right is no count.
    assert proportion_interval(0.9, 3, minimum=0, maximum=1) is None


def test_statistics_of_a_record_load_no_scientific_library() -> None:
    code = (
        "import sys, orchestrator.validity.judge; print([m for m in ('scipy', 'numpy', 'pandas') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
