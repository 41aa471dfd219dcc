"""The tables of a review's comment that are folded: its numbers, and what got better and worse. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flows.review.confusions import can_compare, changed_confusions
from flows.review.differences import by_column, difference, ends, written
from flows.review.evidence import MetricChange, PartChange, Review
from flows.review.markdown import escape, table, value
from flows.review.parts import counted_parts, moved_first

VERDICTS = {"better": "▲ better", "worse": "▼ worse", "unchanged": "=", "same": "same (within 1%)", "unknown": "-"}
PARTS_SHOWN = 12
CONFUSIONS_SHOWN = 8


def verdict(change: MetricChange) -> str:
    """The verdict in words; where it is neither better nor worse, with the reason."""
    return VERDICTS.get(change.verdict, change.verdict) + (f": {escape(change.why)}" if change.why else "")


def numbers(changes: Sequence[MetricChange]) -> str:
    """The numbers that changed, a table for each unit of differences; of the others how many there are."""
    known = [change for change in changes if change.before is not None or change.after is not None]
    if not known:
        return "There are no metrics."
    same = sum(change.verdict == "unchanged" for change in known)
    known = [change for change in known if change.verdict != "unchanged"]
    if not known:
        return f"All {same} are the same."
    listed = [
        table(("model", "number", "before", "after", column.heading.lower(), "between", ""), map(_number, own))
        for column, own in by_column(known).items()
    ]
    return "\n\n".join([*listed, *([f"{same} more are the same."] if same else [])])


def _number(change: MetricChange) -> tuple[str, ...]:
    between_ends = " and ".join(written(end, change.unit) for end in found) if (found := ends(change)) else "-"
    return (
        change.model, change.name, value(change.before, change.unit), value(change.after, change.unit),
        written(difference(change), change.unit), between_ends, verdict(change),
    )  # fmt: skip


def kinds(review: Review) -> str:
    """What the parts are of, in words: "label, length"."""
    return ", ".join(escape(by) for by in counted_parts(review.parts))


def parts_that_moved(review: Review) -> str:
    """The parts of the candidate's rows that got surely better or worse, worse first; of the others how many."""
    ordered = moved_first(review.parts)
    moved = [part for part in ordered if part.verdict != "no clear change"]
    shown_parts = moved[:PARTS_SHOWN]
    header = ("by", "part", "rows", "better", "worse", "before", "after", "difference, points", "between", "")
    pair = review.of_candidate
    of = f"{review.candidate}, on the {pair.rows:,} test rows of both" if pair else review.candidate
    still = counted_parts([part for part in ordered if part not in moved])
    rest = ", ".join(f"{count} by {escape(by)}" for by, count in still.items())
    lines = [f"{of} ({review.confidence:.0%} intervals)."]
    lines += [table(header, map(_part, shown_parts))] if moved else []
    lines += [f"{len(moved) - len(shown_parts)} more got better or worse."] if len(moved) > PARTS_SHOWN else []
    return "\n\n".join([*lines, *([f"No clear change: {rest}."] if rest else [])])


def _part(part: PartChange) -> tuple[str, ...]:
    change, low, high = (written(100 * end, "share") for end in (part.after - part.before, part.low, part.high))
    counts = (f"{rows:,}" for rows in (part.rows, part.better, part.worse))
    told = VERDICTS.get(part.verdict, part.verdict)
    shares = (f"{part.measure} {value(part.before, 'share')}", value(part.after, "share"))
    return escape(part.by), escape(part.name), *counts, *shares, change, f"{low} and {high}", told


def confusions(review: Review) -> str:
    """The candidate's wrong answers whose rows changed most, of the rows of both sides; empty where none did."""
    before, after = (
        next((view for view in views if view.name == review.candidate), None) for views in (review.before, review.after)
    )
    if not can_compare(before, after, review):
        return ""
    moved = [pair for pair in changed_confusions(before, after, by_change=True) if pair[2] != pair[3]][
        :CONFUSIONS_SHOWN
    ]
    rows = [
        (escape(actual), escape(guess), f"{was:,}", f"{now:,}", f"{now - was:+,}") for actual, guess, was, now in moved
    ]
    return table((review.kind, "taken for", "rows before", "rows now", "difference"), rows) if rows else ""
