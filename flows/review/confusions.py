"""The wrong answers of two sides, pair of classes by pair of classes. Pure."""

from __future__ import annotations

from flows.review.evidence import ModelView, Review


def can_compare(before: ModelView | None, after: ModelView | None, review: Review) -> bool:
    """Whether both sides of a model have confusions, and those are of the same rows and classes."""
    known = [view for view in (before, after) if view and view.confusion]
    return len(known) == 2 and known[0].name not in review.apart


def changed_confusions(
    before: ModelView | None, after: ModelView | None, *, by_change: bool
) -> list[tuple[str, str, int, int]]:
    """(actual, predicted, rows before, rows now) of wrong answers; by the change of their rows, else the commonest now.

    Those of a side that is missing are 0.
    """
    was, now = ({pair[:2]: pair[2] for pair in view.confusion} if view else {} for view in (before, after))
    pairs = ((*pair, was.get(pair, 0), now.get(pair, 0)) for pair in was.keys() | now.keys() if pair[0] != pair[1])
    return sorted(pairs, key=lambda found: (-abs(found[3] - found[2]) * by_change, -found[3], -found[2], found[:2]))
