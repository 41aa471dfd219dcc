"""Is the new data of the kind that the released model was made of? Pure: two cleaning reports in, checks out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flows.evidence import Check, number
from stages.params import RetrainParams


def drift(before: Mapping[str, Any], after: Mapping[str, Any], limits: RetrainParams) -> tuple[Check, ...]:
    """`before` and `after` are metrics/data/cleaning.json; without an earlier one there is nothing to compare."""
    if not before:
        return (Check("drift", "pass", "no earlier data to compare with."),)
    return (*_rows(before, after, limits), *_labels(before, after, limits), *_length(before, after, limits))


def _rows(before: Mapping[str, Any], after: Mapping[str, Any], limits: RetrainParams) -> Iterator[Check]:
    had, has = number(before, "kept"), number(after, "kept")
    if limits.max_rows_lost is None or not had or has is None:
        return
    lost = 1 - has / had
    found = f"{had:,.0f} -> {has:,.0f} rows; at most {limits.max_rows_lost:.0%} fewer are accepted."
    yield Check("rows", "fail" if lost > limits.max_rows_lost else "pass", found)


def _labels(before: Mapping[str, Any], after: Mapping[str, Any], limits: RetrainParams) -> Iterator[Check]:
    had, has = before.get("label_shares"), after.get("label_shares")
    if limits.max_label_share_change is None or not isinstance(had, Mapping) or not isinstance(has, Mapping):
        return
    gone = sorted(set(had) - set(has))
    changes = {label: has.get(label, 0.0) - had.get(label, 0.0) for label in {*had, *has}}
    most = max(sorted(changes), key=lambda label: abs(changes[label]))
    named = f"{most!r} is {had.get(most, 0.0):.1%} -> {has.get(most, 0.0):.1%} of the rows, the largest change"
    allowed = f"at most {100 * limits.max_label_share_change:g} points are accepted"
    missing = f" No row has {', '.join(map(repr, gone[:5]))} any more." if gone else ""
    wrong = gone or abs(changes[most]) > limits.max_label_share_change
    yield Check("labels", "fail" if wrong else "pass", f"{named}; {allowed}.{missing}")


def _length(before: Mapping[str, Any], after: Mapping[str, Any], limits: RetrainParams) -> Iterator[Check]:
    had, has = number(before, "chars", "p50"), number(after, "chars", "p50")
    if limits.max_length_change is None or not had or not has:
        return
    change = max(has / had, had / has) - 1
    found = f"a text has {had:g} -> {has:g} characters (median)"
    words = f"{found}; at most {1 + limits.max_length_change:g} times as many, or as few, are accepted."
    yield Check("length", "fail" if change > limits.max_length_change else "pass", words)
