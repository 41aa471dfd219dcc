"""An explanation as one HTML page: the text with its words marked, and their weights in a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flows.answering.explained_text import check, strength
from flows.answering.explaining import Aspect, Explanation
from flows.review.markdown import capital
from flows.review.page import document
from flows.review.page.cells import Cell, Table


class Piece(NamedTuple):
    """A part of a text; a word has the class of its mark."""

    text: str
    style: str = ""
    weight: str = ""


def render(found: Explanation) -> str:
    """The whole page as HTML."""
    aspects = [
        {
            "name": aspect.name,
            "check": capital(check(aspect)),
            "texts": [list(_pieces(text, of, aspect)) for of, text in enumerate(found.texts)],
            "table": _table(aspect, at),
        }
        for at, aspect in enumerate(found.aspects)
    ]
    return document.rendered("explained.html.j2", shown=found.shown.replace("\t", "  "), aspects=aspects)


def _pieces(text: str, of: int, aspect: Aspect) -> Iterator[Piece]:
    """The text in order: its words, and what is between them."""
    place = 0
    for word in (word for word in aspect.words if word.of == of):
        yield Piece(text[place : word.start])
        strong = strength(word, aspect)
        style = f"{'for' if word.weight > 0 else 'against'} s{strong}" if strong else ""
        yield Piece(word.text, style, _signed(word.weight))
        place = word.end
    yield Piece(text[place:])


def _table(aspect: Aspect, at: int) -> Table:
    rows = tuple(
        (
            Cell(word.text, style="text", note="with its neighbours" if word.grouped else ""),
            Cell(_signed(word.weight), word.weight, "number"),
        )
        for word in sorted(aspect.words, key=lambda word: -abs(word.weight))
    )
    return Table(f"words-{at}", f"How far the {aspect.unit} falls without each word.", ("Word", "Weight"), rows)


def _signed(weight: float) -> str:
    return f"{weight:+.4f}".replace("-", "−")
