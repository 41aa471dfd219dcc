"""Single values, in any kind of file: which are wanted, and their faults."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from stages.core.contracts import TARGET, TEXT
from stages.core.params.ingest import IngestParams
from stages.reading.lines import Fault, excerpt, fault_in


class Wanted(NamedTuple):
    column: str
    key: str
    """The setting that names it: a parameter ("ingest.columns.text"), or a command-line option ("--text-column")."""
    role: str | None = None
    """TEXT or TARGET; None for other columns."""
    structured: bool = False
    """Whether it may hold lists, and as a target objects, for the task to read."""


def wanted_columns(
    params: IngestParams, *, labelled: bool = True, structured: Collection[str] = frozenset()
) -> list[Wanted]:
    """The text, the label where rows have one, the second text of pairs, and other kept columns; in this order.

    `structured`: the roles that may hold lists, and of those the target objects.
    """
    wanted = [Wanted(params.columns.text, "ingest.columns.text", TEXT, TEXT in structured)]
    if labelled:
        wanted.append(Wanted(params.columns.label, "ingest.columns.label", TARGET, TARGET in structured))
    if params.columns.text_pair is not None:
        wanted.append(Wanted(params.columns.text_pair, "ingest.columns.text_pair"))
    return wanted + [Wanted(column, "ingest.keep_columns") for column in params.keep_columns]


def fault_of(values: Sequence[Any], wanted: Sequence[Wanted], max_chars: int) -> tuple[Fault, str] | None:
    """The first fault among a row's values, and the start of that value.

    An array or an object where a text is wanted, bytes that are no text, NUL, or more characters than allowed.
    """
    for value, one in zip(values, wanted, strict=True):
        if isinstance(value, list | dict):
            allowed = one.structured and (one.role == TARGET or isinstance(value, list))
            if not allowed and one.key != "ingest.keep_columns":
                found = "an array" if isinstance(value, list) else "an object"
                expected = "a text or an array" if one.structured else "a text"
                detail = (
                    f"the column '{one.column}' ({one.key}) holds {found}, expected {expected}. Name another column"
                )
                return Fault("wrong_type", detail), excerpt(str(value))
            text = "\n".join(_texts_in(value)) if one.structured else ""
        elif isinstance(value, str | bytes):
            text = _decoded(value)
        else:
            continue
        fault = fault_in(text)
        if len(text) > max_chars:
            fault = Fault("too_long", f"{len(text):,} characters, allowed {max_chars:,} (ingest.max_row_chars)")
        if fault:
            return fault, excerpt(text)
    return None


def _decoded(value: str | bytes) -> str:
    return value.decode("utf-8", errors="winnow_keep_bytes") if isinstance(value, bytes) else value


def _texts_in(value: Any) -> Iterator[str]:
    """The texts anywhere in a list or an object."""
    if isinstance(value, str | bytes):
        yield _decoded(value)
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(one)
