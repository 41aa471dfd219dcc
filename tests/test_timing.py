"""The rule by which times are judged: of two revisions, and against a limit."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import REPOSITORY

from flows.gate.promotion import decide
from flows.gate.rules import rules_of
from flows.review import changes, timing
from flows.review.evidence import Results
from stages.core.params.file import load_params

QUIET = [0.98, 0.99, 1.0, 1.01, 1.02]


def profile(p50: float, rounds: list[float] | None = None, **more: Any) -> dict[str, Any]:
    """Of a model whose p99 is twice its p50; `rounds` are factors of both."""
    found: dict[str, Any] = {"latency_p50_ms": p50, "latency_p99_ms": 2 * p50, "processor": "one", "threads": 2, **more}
    if rounds:
        found["rounds"] = {"latency_p50_ms": [p50 * factor for factor in rounds]}
    return found


def compared(before: dict[str, Any], after: dict[str, Any], key: str = "latency_p50_ms") -> timing.Compared:
    one, other = timing.spread(before, key), timing.spread(after, key)
    assert one is not None
    assert other is not None
    return timing.compare(key, one, other)


@pytest.mark.parametrize(
    ("before", "after", "verdict", "why"),
    [
        (profile(1.0, QUIET), profile(2.35, QUIET), "apart", ""),
        (profile(1.0, QUIET), profile(1.08, QUIET), "no clear change", ""),  # within what two days differ
        (profile(1.0, QUIET), profile(1.005, QUIET), "same", ""),
        (profile(1.0, QUIET), profile(2.35, [0.3, 0.5, 1, 2, 3]), "too noisy to tell", "rounds of both overlap"),
        (profile(1.0), profile(2.35), "too noisy to tell", "measured in 1 round; it takes 4"),
        (profile(1.0, QUIET), profile(2.35), "too noisy to tell", "measured in 1 round"),
        (profile(1.0, QUIET), profile(2.35, QUIET[:3]), "too noisy to tell", "measured in 3 rounds"),
        (profile(0.9, QUIET), profile(2, QUIET, latency_p99_ms=1400.0), "too noisy to tell", "p99 is 700 times p50"),
    ],
)  # fmt: skip
def test_times_are_apart_only_where_their_rounds_are(
    before: dict[str, Any], after: dict[str, Any], verdict: str, why: str
) -> None:
    found = compared(before, after)
    assert found.verdict == verdict
    assert why in found.why


def test_no_size_is_better_by_less_than_a_hundredth() -> None:
    assert compared({"size_mb": 7.209}, {"size_mb": 7.207}, "size_mb").verdict == "same"
    assert compared({"size_mb": 7.209}, {"size_mb": 7.0}, "size_mb").verdict == "apart"


def test_memory_needs_no_rounds_for_what_is_beyond_noise() -> None:
    assert compared({"peak_rss_mb": 200.0}, {"peak_rss_mb": 300.0}, "peak_rss_mb").verdict == "apart"
    assert compared({"peak_rss_mb": 200.0}, {"peak_rss_mb": 215.0}, "peak_rss_mb").verdict == "no clear change"


def test_other_machines_and_other_threads_are_said() -> None:
    assert timing.other_machine(profile(1), profile(2)) == ""
    assert timing.other_machine(profile(1), profile(2, processor="two")) == "one, 2 threads before, two, 2 threads now"
    assert timing.other_machine(profile(1), profile(2, threads=4)) == "one, 2 threads before, one, 4 threads now"


def of(found: dict[str, Any]) -> Results:
    return Results(profile=found)


def verdicts(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    params = load_params(REPOSITORY / "params.yaml")
    found = changes.metrics("teacher", of(before), of(after), rules_of(params), params.evaluate, [])
    return {c.metric: c.verdict for c in found}


def test_the_review_judges_costs_by_that_rule() -> None:
    before, after = profile(1.0, QUIET, size_mb=7.209), profile(2.35, QUIET, size_mb=7.207)
    assert verdicts(before, after)["latency_p50_ms"] == "worse"
    assert verdicts(before, after)["latency_p99_ms"] == "too noisy to tell"  # no rounds of it
    assert verdicts(before, after)["size_mb"] == "same"
    assert verdicts(before, after | {"processor": "two"})["latency_p50_ms"] == "other machine"
    assert verdicts(after, before)["latency_p50_ms"] == "better"


@pytest.mark.parametrize(
    ("found", "outcome", "why"),
    [
        (profile(19.0, QUIET), "pass", ""),
        (profile(20.0), "pass", ""),
        (profile(20.5), "fail", ""),
        (profile(25.0, QUIET), "fail", ""),
        (profile(20.1, QUIET), "inconclusive", "Too noisy to tell: 19.698 to 20.502 in 5 rounds."),
        (profile(25.0, QUIET, latency_p99_ms=5000.0), "inconclusive", "p99 is 200 times p50, so the machine was busy"),
        (profile(0.9, QUIET, latency_p99_ms=618.0), "pass", ""),  # a busy machine makes nothing faster
    ],
)  # fmt: skip
def test_the_gate_judges_the_latency_by_that_rule(found: dict[str, Any], outcome: str, why: str) -> None:
    rules = rules_of(load_params(REPOSITORY / "params.yaml"))
    check = next(check for check in decide(of(found), None, rules).checks if check.name == "latency")
    assert check.outcome == outcome
    assert why in check.reason
