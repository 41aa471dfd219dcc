"""Lists for a person: proposals and doubted rows as tables, and proposals as a page to label on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from flows.answering.writing import ending_of, write_rows
from flows.labelling.doubting import Doubted
from flows.labelling.listed import DROP, LABEL, ROW_ID, TEXT, TEXT_PAIR, Listed, escaped
from flows.labelling.proposing import Proposal
from flows.review.page import document
from stages.tasks.shared.labelling import TaskLabelling

NUMBERS = {"probability": pa.float64(), "quality": pa.float64()}
"""Columns of such tables that are numbers."""
SPREADSHEETS = (".csv", ".tsv")


def of_proposals(rows: Sequence[Proposal]) -> list[dict[str, Any]]:
    """The rows of a table of proposals, with an empty column for the label."""
    return [
        {**_texts(one.row), "suggestion": one.row.suggestion, "probability": one.probability, LABEL: ""} for one in rows
    ]


def of_doubted(rows: Sequence[Doubted]) -> list[dict[str, Any]]:
    """The rows of a table of doubted rows, with empty columns for what is to become of each."""
    return [
        {
            **_texts(one.row), "given": one.row.given, "likely": one.row.suggestion, "quality": one.quality,
            "probability": one.probability, "flagged": "yes" if one.flagged else "no", "reason": one.reason,
            LABEL: "", DROP: "",
        }
        for one in rows
    ]  # fmt: skip


def _texts(row: Listed) -> dict[str, Any]:
    pair = {} if row.text_pair is None else {TEXT_PAIR: row.text_pair}
    return {ROW_ID: row.row_id, TEXT: row.text, **pair}


def write_list(out: str, rows: Sequence[Mapping[str, Any]], numbers: Mapping[str, pa.DataType] = NUMBERS) -> None:
    """Write a table; what a spreadsheet would run as a formula is written behind an apostrophe."""
    if ending_of(out) in SPREADSHEETS:
        rows = [{name: escaped(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]
    write_rows(out, rows, numbers)


def page_of(rows: Sequence[Proposal], labels: Sequence[str], labelling: TaskLabelling, name: str) -> str:
    """A page on which a person labels the rows by keys, and downloads them as the csv `name`.

    `labels`: those that are allowed; none where a target is a number.
    """
    table = of_proposals(rows)
    columns = list(table[0])
    shown = [
        {
            "cells": [_cell(row[column]) for column in columns],
            "texts": [row[column] for column in (TEXT, TEXT_PAIR) if column in row],
            "suggestion": one.row.suggestion, "probability": one.probability, "likeliest": list(one.likeliest),
        }
        for row, one in zip(table, rows, strict=True)
    ]  # fmt: skip
    data = {"columns": columns, "rows": shown, "labels": list(labels), "chosen": labelling.chosen, "name": name}
    script = (document.TEMPLATES / "label.js").read_text(encoding="utf-8")
    return document.rendered(
        "label.html.j2", [script], {**document.NOTHING, "labelling": data}, rows=len(rows), chosen=labelling.chosen
    )


def _cell(value: Any) -> str:
    """A cell as the table has it."""
    return "" if value is None else escaped(value) if isinstance(value, str) else repr(value)
