"""In CI everything that a test needs is brought up: a skip there for want of it is a failure."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

_NEEDS = ("engine", "venv", "demo")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    needs = [name for name in _NEEDS if item.get_closest_marker(name)]
    if report.skipped and needs and os.environ.get("CI") and not item.get_closest_marker("heavy"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, which has what it needs ({', '.join(needs)}): {report.longrepr}"
    return report
