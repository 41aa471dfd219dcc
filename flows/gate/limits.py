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
        yield from _swapped_words(quality, limits.max_identity_flip_rate, limits.min_slice_rows)
    rates = mapping(quality, "fairness", "groups", "rates")
    if limits.max_group_gap is not None and rates:  # without a group column there are no groups
        yield _groups(rates, limits.max_group_gap, limits.min_slice_rows, rules.task.score_title)
    errors = mapping(quality, "fairness", "groups", "positive_class", "groups")
    if limits.max_error_rate_gap is not None:
        yield from _errors(errors, limits.max_error_rate_gap, limits.min_slice_rows)
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
    shown = f"{100 * found:.6g}%" if measure.unit == "share" else f"{found:.6g}"
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


def _swapped_words(quality: Mapping[str, Any], allowed: float, min_rows: int) -> Iterator[Check]:
    """The checks of swapped words, of each list where there are several, and of sentences with a slot."""
    swaps = mapping(quality, "fairness", "identity_swaps")
    lists = mapping(swaps, "lists")
    yield from (_identity(of, allowed, min_rows, f"identity terms: {name}") for name, of in lists.items())
    if not lists:
        yield _identity(swaps, allowed, min_rows, "identity terms")
    if filled := mapping(quality, "fairness", "templates"):
        rows, rate = number(filled, "rows"), number(filled, "flip_rate")
        found = None if rate is None else 100 * rate
        check = _at_most("templates", "sentences whose answer hangs on who is in them", found, 100 * allowed, "%")
        few = f" So few, {rows or 0:,.0f}, say little: it takes {min_rows}." if (rows or 0) < min_rows else ""
        yield dataclasses.replace(check, outcome="not judged", reason=f"{check.reason}{few}") if few else check


def _errors(of_groups: Mapping[str, Any], allowed: float, min_rows: int) -> Iterator[Check]:
    """The checks of the gaps in each kind of error, between groups with enough rows that can be wrong so."""
    if not of_groups:
        at_most = f"at most {plain(100 * allowed)} points are allowed"
        yield Check("groups: errors", "inconclusive", f"errors of evaluate.positive_class: not measured; {at_most}.")
        return
    for kind in ("false_positive_rate", "false_negative_rate"):
        rates = {name: mapping(of, kind) for name, of in of_groups.items()}
        yield _groups(rates, allowed, min_rows, kind.replace("_", " "), key="rate", name=f"groups: {kind}")


def _identity(swaps: Mapping[str, Any], allowed: float, min_rows: int, what: str) -> Check:
    rows, rate = number(swaps, "rows"), number(swaps, "flip_rate")
    at_most = f"at most {plain(100 * allowed)}% is allowed"
    if rows is None:
        return Check(what, "inconclusive", f"answers with identity words swapped: not measured; {at_most}.")
    if rate is None:
        why = f"no row has such words, and it takes {min_rows}" if not rows else "such answers cannot flip"
        return Check(what, "not judged", f"{why}.")
    one = rows == 1
    found = (
        f"{100 * rate:.4g}% of {rows:,.0f} row{'' if one else 's'} get{'s' if one else ''} another answer when "
        f"{'its' if one else 'their'} identity words are swapped; {at_most}"
    )
    if rows < min_rows:
        return Check(what, "not judged", f"{found}, but so few rows say little: it takes {min_rows}.")
    return Check(what, "fail" if rate > allowed else "pass", f"{found}.")


def _groups(
    rates: Mapping[str, Any], allowed: float, min_rows: int, score: str, *, key: str = "score", name: str = "groups"
) -> Check:
    """The check of the gap between groups that have enough rows for the mean of their scores to be meaningful."""
    known = {group: (number(rates, group, "rows"), number(rates, group, key)) for group in rates}
    judged = [mean for rows, mean in known.values() if mean is not None and (rows or 0) >= min_rows]
    count = f"{len(judged)} judged; {len(known) - len(judged)} too small, with fewer than {min_rows} rows."
    if len(judged) < 2:
        return Check(name, "not judged", f"{score} gap between groups: it takes two. {count}")
    # As exact as the rates are: the difference of two numbers with a point is seldom quite the limit that it equals.
    gap, limit = (round(100 * share, 4) for share in (max(judged) - min(judged), allowed))
    check = _at_most(name, f"{score} gap between groups, in points", gap, limit, "")
    return dataclasses.replace(check, reason=f"{check.reason} {count}")
