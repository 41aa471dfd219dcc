"""What a teacher writes for the sources of rows, as rows that a student learns besides (Kim and Rush 2016,
arXiv:1606.07947)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.core.contracts import NO_LABEL
from stages.training.rows import TokenRows, there


class Asked(NamedTuple):
    """What stands before the target of a row."""

    ids: list[int]
    """Of the decoder."""
    source: list[int] | None
    """Of the encoder; None where the source stands among the others."""


def asked_of(rows: TokenRows) -> list[Asked]:
    """What stands before each row's target, or where it has none all of it."""
    found = []
    for number in range(len(rows)):
        row = rows[number]
        begin = int(rows.begins_of([number])[0])
        ids, learned = row["input_ids"][begin:], there(row["target"][begin:])
        first = next(iter(np.flatnonzero(learned) + 1), len(ids))
        found.append(Asked(ids[:first].tolist(), row["input_ids"][:begin].tolist() if rows.decoded else None))
    return found


def as_columns(asked: Sequence[Asked], written: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """The rows in which what was written for each is learned: `input_ids`, `lengths`, `labels`, and `begins` of sources
    that are read apart; as `TokenRows.and_written` takes them."""
    ids: list[int] = []
    labels: list[int] = []
    lengths, begins = [], []
    for before, tokens in zip(asked, written, strict=True):
        source = before.source or []
        row = [*source, *before.ids, *tokens[:-1]]
        ids += row
        labels += [NO_LABEL] * (len(row) - len(tokens)) + list(tokens)
        lengths.append(len(row))
        begins.append(len(source))
    columns: dict[str, np.ndarray] = {
        "input_ids": np.array(ids, dtype=np.int32),
        "labels": np.array(labels, dtype=np.int32),
        "lengths": np.array(lengths, dtype=np.int64),
    }
    apart = bool(asked) and asked[0].source is not None
    return columns | ({"begins": np.array(begins, dtype=np.int32)} if apart else {})
