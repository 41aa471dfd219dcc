"""Faults of single values, in any kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from stages.core.params.ingest import IngestParams
from stages.reading.lines import Fault, excerpt, fault_in


class Wanted(NamedTuple):
    column: str
    key: str
    """The setting that names it: a parameter ("ingest.columns.text"), or a command-line option ("--text-column")."""


def wanted_columns(params: IngestParams, *, labelled: bool = True) -> list[Wanted]:
    """The text, the label where rows have one, the second text of pairs, and other kept columns; in this order."""
    wanted = [Wanted(params.columns.text, "ingest.columns.text")]
    if labelled:
        wanted.append(Wanted(params.columns.label, "ingest.columns.label"))
    if params.columns.text_pair is not None:
        wanted.append(Wanted(params.columns.text_pair, "ingest.columns.text_pair"))
    return wanted + [Wanted(column, "ingest.keep_columns") for column in params.keep_columns]


def fault_of(values: Sequence[Any], wanted: Sequence[Wanted], max_chars: int) -> tuple[Fault, str] | None:
    """The first fault among a row's values, and the start of that value.

    An array or an object where a text is wanted, bytes that are no text, NUL, or more characters than allowed.
    """
    for value, one in zip(values, wanted, strict=True):
        text = value.decode("utf-8", errors="winnow_keep_bytes") if isinstance(value, bytes) else value
        if isinstance(text, str):
            fault = fault_in(text)
            if len(text) > max_chars:
                fault = Fault("too_long", f"{len(text):,} characters, allowed {max_chars:,} (ingest.max_row_chars)")
            if fault:
                return fault, excerpt(text)
        elif isinstance(text, list | dict) and one.key != "ingest.keep_columns":
            found = "an array" if isinstance(text, list) else "an object"
            detail = f"the column '{one.column}' ({one.key}) holds {found}, expected a text. Name another column"
            return Fault("wrong_type", detail), excerpt(str(text))
    return None
