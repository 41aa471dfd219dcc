"""The comparison of timings: one rule, for the review, which compares two profiles, and for the gate's limit.

A figure is known as well as the rounds that it was measured in agree:

    before  |--o--|
    after              |--o--|         apart by more than noise: better or worse
    after        |------o------|       they overlap: too noisy to tell
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from flows.review.evidence import number

NEGLIGIBLE = 0.01  # a share of the figure before: smaller differences are not reported
NOISE = 0.1  # by so much of a time two runs of the same code differ from one day to the next, and a peak of memory
LEAST_ROUNDS = 4  # this many rounds of two equal models lie apart by chance 1 time in 35; three, 1 in 10
LONGEST_TAIL = 100.0  # p99 by p50: a model's own is below 10; beyond this the machine did something else
TIMES = ("latency_p50_ms", "latency_p99_ms", "throughput_rows_per_s", "start_up_ms", "tokens_per_s",
         "tokens_per_s_batch", "first_text_ms")  # fmt: skip
MACHINE = ("processor", "threads")

Verdict = Literal["apart", "no clear change", "same", "too noisy to tell"]


class Spread(NamedTuple):
    """A figure, and its least and greatest value in any round; in its own unit."""

    value: float
    low: float
    high: float
    rounds: int  # 1 where the file has the figure alone
    noise: str  # in words, why it tells nothing; empty where it does


class Compared(NamedTuple):
    verdict: Verdict
    why: str  # in words, where it is too noisy
    low: float  # of after - before
    high: float


def spread(profile: Mapping[str, Any], key: str) -> Spread | None:
    """The figure `key` of metrics/profile/NAME.json with its rounds; None where it was not measured."""
    value = number(profile, key)
    if value is None:
        return None
    listed = (profile.get("rounds") or {}).get(key) or []
    rounds = [found for entry in listed if (found := number({key: entry}, key)) is not None]
    noise = _tail(profile) if key in TIMES else ""
    return Spread(value, min([value, *rounds]), max([value, *rounds]), max(len(rounds), 1), noise)


def _tail(profile: Mapping[str, Any]) -> str:
    p50, p99 = number(profile, "latency_p50_ms"), number(profile, "latency_p99_ms")
    if not p50 or p99 is None or p99 <= LONGEST_TAIL * p50:
        return ""
    return f"p99 is {p99 / p50:,.0f} times p50, so the machine was busy"


def other_machine(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Why two profiles are of unlike machines or threads, in words; empty where they can be compared."""
    sides = [", ".join(_of_machine(profile)) or "a machine not known" for profile in (before, after)]
    return "" if sides[0] == sides[1] else f"{sides[0]} before, {sides[1]} now"


def _of_machine(profile: Mapping[str, Any]) -> list[str]:
    return [f"{profile[key]} threads" if key == "threads" else str(profile[key]) for key in MACHINE if key in profile]


def compare(key: str, before: Spread, after: Spread) -> Compared:
    """How two figures of one machine differ. A size is exact; a time needs LEAST_ROUNDS rounds that lie apart."""
    difference = after.value - before.value
    if key == "size_mb":
        verdict: Verdict = "same" if abs(difference) < NEGLIGIBLE * before.value else "apart"
        return Compared(verdict, "", difference, difference)
    slack = NOISE * before.value
    low, high = after.low - before.high - slack, after.high - before.low + slack
    if noise := before.noise or after.noise:
        return Compared("too noisy to tell", noise, low, high)
    if abs(difference) < NEGLIGIBLE * before.value:
        return Compared("same", "", low, high)
    if key in TIMES and (rounds := min(before.rounds, after.rounds)) < LEAST_ROUNDS:
        why = f"measured in {rounds} round{'' if rounds == 1 else 's'}; it takes {LEAST_ROUNDS}"
        return Compared("too noisy to tell", why, low, high)
    if min(before.rounds, after.rounds) > 1 and before.low <= after.high and after.low <= before.high:
        return Compared("too noisy to tell", "the rounds of both overlap", low, high)
    return Compared("no clear change" if low <= 0 <= high else "apart", "", low, high)


def within(found: Spread, allowed: float) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    """Whether a figure is at most `allowed`, and the evidence of its rounds, in words."""
    if found.high <= allowed:
        return "pass", ""  # a busy machine makes times longer, never shorter
    if found.noise:
        return "inconclusive", f" Too noisy to tell: {found.noise}."
    if found.low <= allowed:
        return "inconclusive", f" Too noisy to tell: {found.low:.6g} to {found.high:.6g} in {found.rounds} rounds."
    return "fail", ""
