"""The weaknesses of the candidate: slices, robustness, fairness, confusions, each before and after. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flows.review.confusions import can_compare, changed_confusions
from flows.review.evidence import ModelView, Review, mapping, number
from flows.review.markdown import capital
from flows.review.page.cells import NOT_KNOWN, Cell, Table, cell, shown
from flows.review.page.tables import candidate_first, names_of, sides_of, view_of

CONFUSIONS_SHOWN = 12  # of a model, below its matrices
IDENTITY = "identity words"


def quality_tables(review: Review) -> Iterator[Table]:
    """Slices, robustness and fairness of the candidate, each a row: rows, then numbers before and after."""
    views = [view_of(side, review) for side in (review.before, review.after)]
    sides = [view.quality if view else {} for view in views]
    score = capital(review.score_title)
    scores = (("score", score, "share"),)
    compared, other_rows = review.candidate not in review.apart, _other_rows(review)
    slices = [mapping(side, "slices") for side in sides]
    for i, column in enumerate(dict.fromkeys([*slices[1], *slices[0]])):
        parts = [mapping(side, column) for side in slices]
        yield _sided(
            f"slices-{i}",
            f"{score} by {column}.{other_rows}",
            str(column).capitalize(),
            parts,
            scores,
            compared=compared,
        )
    changed = [mapping(side, "robustness") for side in sides]
    alike = ("similarity", "Alike", "share")
    rates = (("flip_rate", "Flipped", "share"), *_where(changed, alike), ("score", score, "share"))
    yield _sided(
        "robustness", "Texts changed in ways that should not matter.", "Change", changed, rates, compared=compared
    )
    fairness = [mapping(side, "fairness") for side in sides]
    swaps = [_swaps(side) for side in fairness]
    rates = (("flip_rate", "Flipped", "share"), *_where(swaps, alike), ("mean_change", "Confidence moved", "share"))
    yield _sided("swaps", "Texts with their identity words swapped.", "Words", swaps, rates, compared=compared)
    groups = [mapping(side, "groups") for side in fairness]
    of_groups = [mapping(side, "rates") or side for side in groups]
    yield _sided("groups", f"{score} by group.{other_rows}", "Group", of_groups, scores, compared=compared)
    gaps = [
        {str(key).replace("score", review.score_title): {"gap": side[key]} for key in side if str(key).endswith("_gap")}
        for side in groups
    ]
    yield _sided("gaps", "The largest gaps between groups.", "Of", gaps, (("gap", "Gap", "share"),), compared=compared)
    yield from _of_positive_class(groups, compared=compared)


def _swaps(fairness: Mapping[str, Any]) -> dict[str, Any]:
    """The swapped words, of all lists and of each, and the sentences with a slot."""
    found = mapping(fairness, "identity_swaps")
    filled = mapping(fairness, "templates")
    return {
        **({IDENTITY: found} if found else {}),
        **mapping(found, "lists"),
        **({"sentences with a slot": filled} if filled else {}),
    }


def _of_positive_class(groups: Sequence[Mapping[str, Any]], *, compared: bool) -> Iterator[Table]:
    """The errors of each group in the class that evaluate.positive_class names."""
    sides = [mapping(side, "positive_class") for side in groups]
    name = next((side["class"] for side in reversed(sides) if "class" in side), None)
    for kind in ("false_positive_rate", "false_negative_rate") if name is not None else ():
        rates = [{group: mapping(of, kind) for group, of in mapping(side, "groups").items()} for side in sides]
        title = capital(kind.replace("_", " "))
        caption = f"{title} of {name} by group."
        yield _sided(kind, caption, "Group", rates, (("rate", title, "share"),), compared=compared)


def _other_rows(review: Review) -> str:
    """A sentence where the test rows of the two sides are not the same; empty where they are, or are not known."""
    pair = review.of_candidate
    if pair is None or not pair.has_other_rows:
        return ""
    return (
        f" The test rows are not the same, {pair.rows_before:,} before and {pair.rows_after:,} after, {pair.rows:,} in "
        "both, and differences are between the two sets."
    )


Shown = tuple[str, str, str]  # the key of a number, its title and its unit


def _where(sides: Sequence[Mapping[str, Any]], column: Shown) -> tuple[Shown, ...]:
    """The column, where a row of either side has such a number."""
    known = any(number(part, column[0]) is not None for side in sides for part in side.values())
    return (column,) if known else ()


def _sided(
    key: str,
    caption: str,
    heading: str,
    sides: Sequence[Mapping[str, Any]],
    shown: Sequence[tuple[str, str, str]],
    *,
    compared: bool,
) -> Table:
    """A row for each name, with before, after and difference of each number. Names without any number are left out."""
    before, after = sides
    counted = any(number(part, "rows") is not None for side in sides for part in side.values())
    rows = []
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if all(number(side, field) is None for side in (old, new) for field, _, _ in shown):
            continue
        count = number(new, "rows") if number(new, "rows") is not None else number(old, "rows")
        cells = [Cell(NOT_KNOWN if count is None else f"{count:,.0f}", count, "number")] if counted else []
        for field, _, unit in shown:
            was, now = number(old, field), number(new, field)
            change = now - was if compared and was is not None and now is not None else None
            note = _ends(new) if field in ("score", "flip_rate", "rate") else ""
            cells += [cell(was, unit), cell(now, unit, note=note), cell(change, unit, signed=True)]
        rows.append((Cell(str(name).replace("_", " ")), *cells))
    titles = [f"{title} {when}" for _, title, _ in shown for when in ("before", "after", "difference")]
    return Table(key, caption, (heading, *(["Rows"] if counted else []), *titles), tuple(rows))


def _ends(values: Any) -> str:
    low, high = number(values, "low"), number(values, "high")
    return "" if low is None or high is None else f"{shown(low, 'share')} to {shown(high, 'share')}"


def panels(review: Review) -> list[dict[str, Any]]:
    """A panel for each model, the candidate first: the matrices that it has, and its commonest confusions."""
    sides = {name: (before, after) for name, before, after in sides_of(review)}
    return [
        {
            "model": name,
            "key": i,
            "caption": _of_matrix(*sides[name], review),
            "table": _confusions(name, *sides[name], review),
        }
        for name in candidate_first(sides, review)
        for i in [names_of(review).index(name)]
        if any(view and view.confusion for view in sides[name])
    ]


def _of_matrix(before: ModelView | None, after: ModelView | None, review: Review) -> str:
    """How to read the matrix of a model: that of a change, or of the one side that can be drawn."""
    if can_compare(before, after, review):
        return (
            f"How the shares of each {review.kind}’s rows changed, now less before, of the {_rows(after):,} test rows "
            "of both: blue is better, orange worse; right answers are on the diagonal. What has no colour is as it was."
        )
    both = all(view and view.confusion for view in (before, after))
    word = "after" if after and after.confusion else "before"
    why = "which cannot be compared with those before" if both else "the only side with predictions"
    return f"The shares of each {review.kind}’s rows {word} the change, {why}; errors are off the diagonal."


def _rows(view: ModelView | None) -> int:
    return sum(rows for _, _, rows in view.confusion) if view else 0


def _confusions(name: str, before: ModelView | None, after: ModelView | None, review: Review) -> Table:
    """The confusions that changed most; where the sides cannot be compared, the commonest ones."""
    compared = can_compare(before, after, review)
    known = [bool(view and view.confusion) for view in (before, after)]
    rows = tuple(
        (
            Cell(actual, style="label"),
            Cell(guess, style="label"),
            cell(was if known[0] else None),
            cell(now if known[1] else None),
            Cell(f"{now - was:+}".replace("+0", "0").replace("-", "−"), now - was, "number")
            if compared
            else cell(None),
        )
        for actual, guess, was, now in changed_confusions(before, after, by_change=compared)[:CONFUSIONS_SHOWN]
    )
    which = "that changed most" if compared else "that are commonest"
    caption = f"The confusions of {name} {which}: test rows of each."
    columns = (capital(review.kind), "Taken for", "Before", "After", "Difference, rows")
    return Table(f"confusions-{names_of(review).index(name)}", caption, columns, rows)
