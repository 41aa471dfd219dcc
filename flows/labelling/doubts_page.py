"""The doubted rows as one HTML page, in the manner of a review's. Pure."""

from __future__ import annotations

from flows.labelling.doubting import Doubted, DoubtedRows
from flows.review.page import document
from flows.review.page.cells import Cell, Table, cell
from flows.review.page.marked import Line, Part
from stages.core.contracts import as_one

TEXT_SHOWN = 600  # characters of a text, and of a training row beside it
MOST_CHOICES = 60  # values of a filter: of more of them, the search is quicker


def render(found: DoubtedRows, task: str) -> str:
    """The whole page as HTML."""
    return document.rendered("doubts.html.j2", found=found, task=task, rows_table=_table(found))


def _table(found: DoubtedRows) -> Table:
    rows = found.rows
    choices = {
        "given": sorted({one.row.given or "" for one in rows}),
        "likely": sorted({one.row.suggestion or "" for one in rows}),
        "flagged": sorted({_flag(one) for one in rows}),
    }
    filters = {name: tuple(values) for name, values in choices.items() if 1 < len(values) <= MOST_CHOICES}
    return Table(
        "doubts",
        "Training rows whose label is likely wrong.",
        ("Quality", "Text", "Given", "Likelier", "Flagged", "Nearest training rows", "Row"),
        tuple(map(_row, rows)),
        tuple(_tags(one, tuple(filters)) for one in rows),
        filters,
        search="Search the texts and labels",
    )


def _flag(one: Doubted) -> str:
    return "yes" if one.flagged else "no"


def _tags(one: Doubted, names: tuple[str, ...]) -> dict[str, str]:
    own = {"given": one.row.given or "", "likely": one.row.suggestion or "", "flagged": _flag(one)}
    return {name: own[name] for name in names}


def _row(one: Doubted) -> tuple[Cell, ...]:
    row = one.row
    sure = "" if one.probability is None else f"{one.probability:.0%}"
    return (
        cell(one.quality),
        Cell(_cut(as_one(row.asked)), style="text"),
        Cell(row.given or "", style="label"),
        Cell(row.suggestion or "", style="label", note=sure),
        Cell(_flag(one)),
        Cell("", style="marked", lines=tuple(
            Line(f"{near.similarity:.2f}", (Part(f"{_cut(near.text)} → {near.truth}"),)) for near in one.near
        )),
        Cell(row.row_id, style="code", note=row.origin),
    )  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"
