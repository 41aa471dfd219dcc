"""What `debias` needs of the training rows: copies with identity words swapped, and the group of each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.contracts import Text, each
from stages.core.files import write_json
from stages.core.identity import lists_of, sides_of, swapper
from stages.core.params.debias import COUNTERFACTUAL, DebiasParams, faults_of_debias
from stages.core.params.identity import IDENTITY_WORDS
from stages.core.paths import GROUPS
from stages.reading.clean_rows import TEXT_PAIR, read_split, texts_of
from stages.tasks.contract import TaskEncoding

if TYPE_CHECKING:
    from stages.core.params.file import Params

NOBODY = "(none)"  # the group of rows without a value


class Alike(Protocol):
    """alike(texts, others=...): (N,) whether each of N texts is one of the others, or near one."""

    def __call__(self, texts: Sequence[Text], *, others: Sequence[Text]) -> np.ndarray: ...


def copies_of(
    rows: Mapping[str, pa.Table], held_out: Path, params: Params, task: TaskEncoding, alike: Alike
) -> dict[str, pa.Table]:
    """The split of the training rows' copies by `debias.swaps`, where its method makes some; `rows` are the splits.

    `held_out` is the file of the rows set aside; `alike` says which copies are like a text that is measured on.
    Raises ValueError, with a line for each fault, where `debias` does not go with the task or the other parameters.
    """
    if faults := list(faults_of_debias(params, task)):
        raise ValueError("\n".join(faults))
    if params.debias.method != COUNTERFACTUAL:
        return {}
    measured = [rows["validation"], rows["test"], pq.read_table(held_out)]
    others = [text for table in measured for text in texts_of(table)]
    return {COUNTERFACTUAL: swapped_rows(rows["train"], params.debias, partial(alike, others=others))}


def write_groups(folder: Path, clean: Path, params: DebiasParams) -> None:
    """Write the groups of the training rows to `folder`, where `debias` treats them by group."""
    if params.by_group is not None:
        write_json(folder / GROUPS, groups_of(read_split(clean, "train", "kept"), params))


def swapped_rows(rows: pa.Table, params: DebiasParams, leaks: Callable[[Sequence[Text]], np.ndarray]) -> pa.Table:
    """A copy of each row that has a word of `debias.swaps`, with these swapped, list by list; the targets stay.

    A row has as many copies as lists change it. Its id is the row's with the list's name behind it. A copy is left out
    whose text is there already among the rows, and one that `leaks`, as it is like a text that is measured on: it would
    be learned from what is measured. Raises ValueError where there is none.
    """
    texts = texts_of(rows)
    known = {*texts}
    found: list[tuple[int, str, Text]] = []
    for name, one in lists_of(params.swaps).items():
        swap = swapper(one.sets)
        changed = ((at, name, each(swap, text)) for at, text in enumerate(texts))
        found += [copy for copy in changed if copy[2] not in known]
    leaked = leaks([text for _, _, text in found]) if found else ()
    found = [copy for copy, out in zip(found, leaked, strict=True) if not out]
    if not found:
        raise ValueError(
            f"params.yaml: debias.swaps is {params.swaps!r}, and no training row has such a word, or each with them"
            " swapped is there already. Name words that occur, or set debias.method to none, or for `winnow debias`"
            " debias.swaps to []."
        )
    copies = rows.take([at for at, _, _ in found])
    ids = [f"{row_id} {name}" for row_id, (_, name, _) in zip(copies["row_id"].to_pylist(), found, strict=True)]
    columns: dict[str, list[Any]] = {"row_id": ids, **_columns([text for _, _, text in found])}
    for name, values in columns.items():
        at = copies.column_names.index(name)
        copies = copies.set_column(at, name, pa.array(values, copies.schema.field(name).type))
    return copies


def _columns(texts: Sequence[Text]) -> dict[str, list[Any]]:
    if isinstance(texts[0], str):
        return {"text": list(texts)}
    first, second = zip(*texts, strict=True)
    return {"text": list(first), TEXT_PAIR: list(second)}


def groups_of(rows: pa.Table, params: DebiasParams) -> dict[str, Any]:
    """The groups of `debias.group_column`: their `names`, and `train`, for each row of the table its number among them.

    `rows` has the column `kept`. Raises ValueError for a column that the rows do not have, and where all are of one
    group.
    """
    column = params.by_group
    values = sides_of(texts_of(rows), params.swaps) if column == IDENTITY_WORDS else _values(rows, column)
    names = sorted(set(values))
    if len(names) == 1:
        raise ValueError(
            f"params.yaml: debias.group_column is '{column}', by which all training rows are one group, {names[0]}."
            " Name another column, or set debias.method to none."
        )
    return {"names": names, "train": [names.index(value) for value in values]}


def _values(rows: pa.Table, column: str | None) -> list[str]:
    kept = [json.loads(text) if text else {} for text in rows["kept"].to_pylist()]
    if not any(column in of for of in kept):
        allowed = ", ".join([IDENTITY_WORDS, *sorted({key for of in kept for key in of})])
        raise ValueError(
            f"params.yaml: debias.group_column is '{column}'. Allowed: {allowed}; more by ingest.keep_columns."
        )
    return [NOBODY if of.get(column) is None else str(of[column]) for of in kept]
