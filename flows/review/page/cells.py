"""Cells, tables and number formats of the page. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from flows.review.markdown import value
from flows.review.page.marked import Line

NOT_KNOWN = "–"


class Cell(NamedTuple):
    text: str
    value: float | str | None = None  # what it is sorted by, where not by its text
    style: str = ""  # "number", "code", "text", "mark"
    note: str = ""  # small, below the text
    mark: str = ""  # a sign before the text, of style "mark"
    lines: tuple[Line, ...] = ()  # texts with their marks, in the place of the text, of style "marked"
    image: str = ""  # before the text, as a data URI


@dataclass(frozen=True)
class Table:
    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    tags: tuple[Mapping[str, str], ...] = ()  # the values of each row for the filters
    filters: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    chosen: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what a filter is set to at first
    together: tuple[str, ...] = ()  # keys of further tables whose rows the filters are of
    search: str = ""  # what a box that searches the rows is called; empty: there is none

    def numeric(self, column: int) -> bool:
        return any(row[column].style == "number" for row in self.rows)


def shown(number: float | None, unit: str = "", *, signed: bool = False) -> str:
    text = value(number, unit, signed=signed)
    return NOT_KNOWN if text == "-" else typeset(text).removeprefix("+" if number == 0 else "")


def typeset(number: str) -> str:
    """A number with the minus sign of print."""
    return number.replace("-", "−")


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def cell(number: float | None, unit: str = "", *, signed: bool = False, note: str = "") -> Cell:
    return Cell(shown(number, unit, signed=signed), number, "number", note)


def marked(text: str, marks: Mapping[str, str], *, note: str = "") -> Cell:
    return Cell(text, list(marks).index(text), "mark", note, marks[text])
