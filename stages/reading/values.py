"""Single values, in any kind of file: which are wanted, and their faults."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from stages.core.contracts import IMAGE, TARGET, TEXT, as_text
from stages.core.params.ingest import IngestParams
from stages.reading.lines import Fault, excerpt, fault_in

BYTES, PATH = "bytes", "path"  # of a cell as `datasets` has images


class Wanted(NamedTuple):
    column: str
    key: str
    """The setting that names it: a parameter ("ingest.columns.text"), or a command-line option ("--text-column")."""
    role: str | None = None
    """TEXT or TARGET, or IMAGE in the place of TEXT; None for other columns."""
    structured: bool = False
    """Whether it may hold lists, and as a target objects, for the task to read."""


def wanted_columns(
    params: IngestParams, *, labelled: bool = True, structured: Collection[str] = frozenset()
) -> list[Wanted]:
    """The text, the label where rows have one, the second text of pairs, and other kept columns; in this order.

    `structured`: the roles that may hold lists, and of those the target objects.
    """
    role = IMAGE if IMAGE in structured else TEXT
    wanted = [Wanted(params.columns.text, "ingest.columns.text", role, TEXT in structured)]
    if labelled:
        wanted.append(Wanted(params.columns.label, "ingest.columns.label", TARGET, TARGET in structured))
    if params.columns.text_pair is not None:
        wanted.append(Wanted(params.columns.text_pair, "ingest.columns.text_pair"))
    return wanted + [Wanted(column, "ingest.keep_columns") for column in params.keep_columns]


def column_of(name: str, found: Collection[str]) -> str | None:
    """The column that a name is of: itself, or that of the objects into which it points; None where there is none.

    "translation.en" is `en` of the objects in the column `translation`, where no column has the whole name.
    """
    while name not in found:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def value_at(name: str, column: str, cell: Any) -> Any:
    """What stands in the cell of the column that `name` is of; None where there is no object.

    Raises KeyError where an object lacks the key, or something else than an object is there.
    """
    rest = name.removeprefix(column).removeprefix(".")
    while rest and cell is not None:
        if not isinstance(cell, dict):
            raise KeyError(name)
        key = column_of(rest, cell)
        if key is None:
            raise KeyError(name)
        cell, rest = cell[key], rest.removeprefix(key).removeprefix(".")
    return cell


def no_column(one: Wanted, found: Sequence[str], hint: str = "") -> str:
    """What to say of a wanted column that is not there: those found, a guess or else the hint, and what to set."""
    near = difflib.get_close_matches(one.column, found, n=1)
    guess = f"Did you mean '{near[0]}'? " if near else hint
    shown = ", ".join(name[:40] for name in found[:20]) or "none"
    place = " in params.yaml" if one.key.startswith("ingest.") else ""
    other = ", or, of text without labels, ingest.splits.transfer" if one.key == "ingest.columns.label" else ""
    return f"no column '{one.column}' ({one.key}). Found: {shown}. {guess}Set {one.key}{place}{other}"


def of_cell(cell: Any) -> tuple[str | None, bytes | None]:
    """The path, or another name, and the bytes of an image in a cell: a path, bytes, or an object with both."""
    if isinstance(cell, dict):
        return as_text(cell.get(PATH)), cell.get(BYTES)
    return (None, cell) if isinstance(cell, bytes) else (as_text(cell), None)


def is_image_cell(cell: Any) -> bool:
    """Whether the cell holds an image itself: bytes, or an object with bytes and a path."""
    if not isinstance(cell, dict):
        return isinstance(cell, bytes)
    path, held = cell.get(PATH), cell.get(BYTES)
    known = cell.keys() <= {PATH, BYTES}
    return known and isinstance(path, str | None) and isinstance(held, bytes | None)


def fault_of(values: Sequence[Any], wanted: Sequence[Wanted], max_chars: int) -> tuple[Fault, str] | None:
    """The first fault among a row's values, and the start of that value.

    An array or an object where a text is wanted, bytes that are no text, NUL, or more characters than allowed.
    """
    for value, one in zip(values, wanted, strict=True):
        if one.role == IMAGE and is_image_cell(value):
            continue
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
