"""Lines of a text with the marks of a truth and of two answers, and their legend, for the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flows.review.evidence import Flip
from flows.review.marks import Mark, Marked, in_words, pieces, window
from flows.review.written import beside

COLOURS = 6  # of the page; more classes than that share them, and are told apart by their names
GONE, NEW, WRONG = "−", "+", "✗"


class Part(NamedTuple):
    """A part of a line; marked where it has a class."""

    text: str
    kind: str = ""  # its class, in words; of marks that overlap all of theirs
    colour: int = 0
    turn: str = ""  # GONE or NEW: only one of the two answers has this mark
    wrong: str = ""  # WRONG: the truth does not have it


class Line(NamedTuple):
    name: str
    parts: tuple[Part, ...]
    elsewhere: str = ""  # marks of no character that is shown, in words


def colours(flips: Iterable[Flip]) -> dict[str, int]:
    """The colour of each class that is marked, from 1 on, in the order of their names."""
    sides = [side for flip in flips if flip.marked for side in flip.marked]
    kinds = sorted({mark.kind for side in sides for mark in side})
    return {kind: at % COLOURS + 1 for at, kind in enumerate(kinds)}


def lines(flip: Flip, found: Marked, colour: Mapping[str, int], shown: int) -> tuple[Line, ...]:
    """The text of a row three times, as its truth and as the answers before and after mark it.

    Of a text of more than `shown` characters it is the part with the first difference. A row without its text begins
    with its id, and its marks are in words.
    """
    start, end = window(flip.text, found, shown)
    changed = set(found.before) ^ set(found.after)
    turns = {"Truth": "", "Before": GONE, "After": NEW}
    told = []
    for (name, turn), marks in zip(turns.items(), found, strict=True):
        parts = [
            Part(piece.text, *_of_marks(piece.marks, colour, found, dict.fromkeys(changed, turn)))
            for piece in pieces(flip.text, marks, start, end)
        ]
        parts = [*[Part("…")] * (start > 0), *parts, *[Part("…")] * (end < len(flip.text))]
        hidden = [mark for mark in marks if not max(mark.start, start) < min(mark.end, end)]
        told.append(Line(name, tuple(parts), in_words(flip.text, hidden)))
    return tuple(told) if flip.text else (Line("Row", (Part(flip.row_id),)), *told)


def written(flip: Flip, shown: int) -> tuple[Line, Line]:
    """The texts written before and after, with the words that only one of them has; cut around the first of these."""
    before, after = beside(flip.before, flip.after, shown)
    return tuple(
        Line("", tuple(Part(run.text, colour=0 if run.shared else 1, turn="" if run.shared else turn) for run in runs))
        for runs, turn in ((before, GONE), (after, NEW))
    )  # type: ignore[return-value]


def _of_marks(
    marks: tuple[Mark, ...], colour: Mapping[str, int], found: Marked, turns: Mapping[Mark, str]
) -> tuple[str, int, str, str]:
    """The class, colour, turn and fault of a part with these marks."""
    if not marks:
        return "", 0, "", ""
    turn = next((turns[mark] for mark in marks if mark in turns), "")
    wrong = WRONG if any(mark not in found.truth for mark in marks) else ""
    return ", ".join(mark.kind for mark in marks), colour[marks[0].kind], turn, wrong
