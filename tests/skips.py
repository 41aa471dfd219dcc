"""Tests that were skipped and should not have been: told at the end, and with --only-allowed-skips a failure.

A page that nobody looked at because there was no browser is no page that was tested.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed_reasons() -> list[str]:
    """The parts of reasons that allowed_skips.txt names. Raises ValueError for one without a why."""
    reasons = []
    for line in ALLOWED.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            reason, _, why = (part.strip() for part in line.partition("|"))
            if not (reason and why):
                raise ValueError(f"{ALLOWED.name}: '{line}'. Allowed: REASON | WHY IT MAY BE.")
            reasons.append(reason)
    return reasons


def unexpected(skipped: Iterable[Any]) -> list[str]:
    """A line for each report of a skip whose reason is not allowed."""
    told = [report.longrepr for report in skipped]
    reasons = allowed_reasons()
    found = {f"{Path(path).name}:{line}: {said}" for path, line, said in told if not any(r in said for r in reasons)}
    return sorted(found)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only-allowed-skips", action="store_true", help=f"fail for skips that {ALLOWED.name} lacks")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")  # of xdist, the workers have none
    found = unexpected(reporter.stats.get("skipped", [])) if reporter else []
    if found and session.config.option.only_allowed_skips and session.exitstatus in (0, 5):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if found := unexpected(terminalreporter.stats.get("skipped", [])):
        terminalreporter.section(f"skipped, and not in {ALLOWED.name}: .ci/run fails for these")
        for line in found:
            terminalreporter.line(line)
