"""The gate's checks of one model alone: a limit that is null is not checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from flows.gate.rules import Rules
from flows.gate.same_rows import plain
from flows.review import timing
from flows.review.evidence import Check, Outcome, Results, mapping, number
from stages.tasks.contract import Measure


def within(candidate: Results, rules: Rules) -> Iterator[Check]:
    """The checks of one model alone; a limit that is null is not checked."""
    quality, profile, limits = candidate.quality, candidate.profile, rules.limits
    if limits.floor is not None:
        yield _floor(number(quality, rules.measure.name), limits.floor, rules.measure)
    if limits.max_ece is not None:
        yield _at_most("calibration", "calibration error", number(quality, "ece"), limits.max_ece, "")
    if limits.max_identity_flip_rate is not None:
        yield _identity(quality, limits.max_identity_flip_rate, limits.min_slice_rows)
    rates = mapping(quality, "fairness", "groups", "rates")
    if limits.max_group_gap is not None and rates:  # without a group column there are no groups
        yield _groups(rates, limits.max_group_gap, limits.min_slice_rows, rules.task.score_title)
    if limits.max_latency_p50_ms is not None:
        yield _latency(profile, limits.max_latency_p50_ms)
    if limits.max_size_mb is not None:
        yield _at_most("size", "size of the model folder", number(profile, "size_mb"), limits.max_size_mb, " MB")


def _floor(found: float | None, floor: float, measure: Measure) -> Check:
    """The check of the worst that the measure may be: the most of it where lower is better."""
    upward = measure.better == "higher"
    limit = f"{plain(100 * floor)}%" if measure.unit == "share" else plain(floor)
    needed = f"at least {limit} is needed" if upward else f"at most {limit} is allowed"
    if found is None:
        return Check("floor", "inconclusive", f"{measure.title}: not measured; {needed}.")
    outcome: Outcome = "fail" if (found < floor if upward else found > floor) else "pass"
    shown = f"{100 * found:.4g}%" if measure.unit == "share" else f"{found:.4g}"
    return Check("floor", outcome, f"{measure.title} {shown}; {needed}.")


def _at_most(name: str, what: str, found: float | None, allowed: float, unit: str) -> Check:
    if found is None:
        return Check(name, "inconclusive", f"{what}: not measured; at most {plain(allowed)}{unit} is allowed.")
    outcome: Outcome = "fail" if found > allowed else "pass"
    return Check(name, outcome, f"{what}: {found:.6g}{unit}; at most {plain(allowed)}{unit} is allowed.")


def _latency(profile: Mapping[str, Any], allowed: float) -> Check:
    found = timing.spread(profile, "latency_p50_ms")
    check = _at_most("latency", "median latency of one row", found.value if found else None, allowed, " ms")
    if found is None:
        return check
    outcome, noise = timing.within(found, allowed)
    return Check(check.name, outcome, f"{check.reason}{noise}")


def _identity(quality: Mapping[str, Any], allowed: float, min_rows: int) -> Check:
    rows = number(quality, "fairness", "identity_swaps", "rows")
    rate = number(quality, "fairness", "identity_swaps", "flip_rate")
    what, at_most = "identity terms", f"at most {plain(100 * allowed)}% is allowed"
    if rows is None:
        return Check(what, "inconclusive", f"answers with identity words swapped: not measured; {at_most}.")
    if rate is None:
        return Check(what, "not judged", f"no row has such words, and it takes {min_rows}.")
    one = rows == 1
    found = (
        f"{100 * rate:.4g}% of {rows:,.0f} row{'' if one else 's'} get{'s' if one else ''} another answer when "
        f"{'its' if one else 'their'} identity words are swapped; {at_most}"
    )
    if rows < min_rows:
        return Check(what, "not judged", f"{found}, but so few rows say little: it takes {min_rows}.")
    return Check(what, "fail" if rate > allowed else "pass", f"{found}.")


def _groups(rates: Mapping[str, Any], allowed: float, min_rows: int, score: str) -> Check:
    """The check of the gap between groups that have enough rows for the mean of their scores to be meaningful."""
    known = {name: (number(rates, name, "rows"), number(rates, name, "score")) for name in rates}
    judged = [mean for rows, mean in known.values() if mean is not None and (rows or 0) >= min_rows]
    count = f"{len(judged)} judged; {len(known) - len(judged)} too small, with fewer than {min_rows} rows."
    if len(judged) < 2:
        return Check("groups", "not judged", f"{score} gap between groups: it takes two. {count}")
    gap = 100 * (max(judged) - min(judged))
    check = _at_most("groups", f"{score} gap between groups, in points", gap, 100 * allowed, "")
    return dataclasses.replace(check, reason=f"{check.reason} {count}")
