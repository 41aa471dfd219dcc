"""Answers that name places of a text, as spans do: cut into pieces for a page, or in words. Pure.

Places come from files, so they may be outside the text, empty, or one over another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

QUOTED = 40  # characters of a marked text in words
LISTED = 8  # marks in words


class Mark(NamedTuple):
    """The characters `start` to `end` - 1 of a text, and the class that they are given."""

    start: int
    end: int
    kind: str


class Marked(NamedTuple):
    """What a row's truth marks in its text, and the answers before and after."""

    truth: tuple[Mark, ...]
    before: tuple[Mark, ...]
    after: tuple[Mark, ...]


class Piece(NamedTuple):
    """A part of a text, and the marks on all of it."""

    text: str
    marks: tuple[Mark, ...]


def marked(
    marks: Callable[[str], Sequence[tuple[int, int, str]]] | None, truth: str, before: str, after: str
) -> Marked | None:
    """The marks of a truth and of two answers, by the task's function; None where it has none."""
    if marks is None:
        return None
    return Marked(*(tuple(Mark(*found) for found in marks(answer)) for answer in (truth, before, after)))


def window(text: str, found: Marked, shown: int) -> tuple[int, int]:
    """The ends of the part of a text that is shown, of up to `shown` characters.

    It is the beginning, or, where no difference of the two answers begins there, the place of the first one.

        text    ---------------------------x------    x: the first mark that only one answer has
        shown                         [--------]
    """
    changed = [mark.start for mark in set(found.before) ^ set(found.after) if 0 <= mark.start < len(text)]
    first = min(changed, default=0)
    start = 0 if first < shown * 3 // 4 else min(first - shown // 4, len(text) - shown)
    return max(start, 0), min(max(start, 0) + shown, len(text))


def pieces(text: str, marks: Collection[Mark], start: int, end: int) -> list[Piece]:
    """The characters `start` to `end` - 1 of a text, cut wherever a mark begins or ends."""
    held = [mark for mark in marks if mark.start < mark.end]
    cuts = {start, end, *(place for mark in held for place in mark[:2] if start < place < end)}
    return [
        Piece(text[one:other], tuple(mark for mark in held if mark.start < other and one < mark.end))
        for one, other in itertools.pairwise(sorted(cuts))
    ]


def in_words(text: str, marks: Sequence[Mark]) -> str:
    """The marks in a line: `person: "Ada Lovelace"`, or `person 5 to 17` where that is no place of the text."""
    told = [_told(text, mark) for mark in marks[:LISTED]]
    more = [f"{len(marks) - LISTED} more"] if len(marks) > LISTED else []
    return "; ".join([*told, *more])


def _told(text: str, mark: Mark) -> str:
    if not 0 <= mark.start < mark.end <= len(text):
        return f"{mark.kind} {mark.start} to {mark.end}"
    found = text[mark.start : mark.end]
    return f'{mark.kind}: "{found if len(found) <= QUOTED else f"{found[: QUOTED - 1]}…"}"'
