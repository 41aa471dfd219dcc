"""The wrong answers of a model as one HTML page, in the manner of a review's. Pure."""

from __future__ import annotations

import re

from flows.answering.errors import WrongRow, WrongRows
from flows.answering.neighbours import Near
from flows.review.markdown import capital
from flows.review.page import document
from flows.review.page.cells import Cell, Table, cell
from flows.review.page.marked import Line, Part

TEXT_SHOWN = 600  # characters of a text, and of a training row beside it
MOST_CHOICES = 60  # values of a filter: of more of them, the search is quicker


def render(found: WrongRows) -> str:
    """The whole page as HTML."""
    return document.rendered("errors.html.j2", found=found, rows_table=_table(found))


def _table(found: WrongRows) -> Table:
    slices = tuple(dict.fromkeys(name for row in found.rows for name in row.slices))
    rows = found.rows
    choices = {
        "truth": sorted({row.truth_words for row in rows}),
        "answer": sorted({row.answer_words for row in rows}),
        **{name: sorted({row.slices.get(name, "") for row in rows}) for name in slices},
    }
    filters = {
        name: tuple(values)
        for name, values in choices.items()
        if 1 < len(values) <= MOST_CHOICES and re.fullmatch("[a-z]+", name)  # else no name of an attribute of HTML
    }
    sure = ("Confidence",) if found.by_confidence else ()
    score = (capital(found.score),) if found.partly else ()  # else it is 0 of every row
    columns = (*sure, *score, "Text", "Truth", "Answer", *map(capital, slices), "Nearest training rows")
    return Table(
        "errors",
        "Test rows that are answered wrongly.",
        columns,
        tuple(_row(row, found, slices) for row in rows),
        tuple(_tags(row, filters) for row in rows),
        filters,
        search="Search the texts and answers",
    )


def _tags(row: WrongRow, filters: dict[str, tuple[str, ...]]) -> dict[str, str]:
    own = {"truth": row.truth_words, "answer": row.answer_words, **row.slices}
    return {name: own.get(name, "") for name in filters}


def _row(row: WrongRow, found: WrongRows, slices: tuple[str, ...]) -> tuple[Cell, ...]:
    return (
        *((cell(row.confidence, "share"),) if found.by_confidence else ()),
        *((cell(row.score, "share"),) if found.partly else ()),
        Cell(_cut(row.whole), style="text"),
        Cell(row.truth_words, style="label"),
        Cell(row.answer_words, style="label"),
        *(Cell(row.slices.get(name, "")) for name in slices),
        Cell("", style="marked", lines=tuple(map(_line, row.near))),
    )


def _line(near: Near) -> Line:
    return Line(f"{near.similarity:.2f}", (Part(f"{_cut(near.text)} → {near.truth}"),))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"
