"""A model's results at a revision: its figures and answers; and those of two revisions on their common rows."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Collection

import numpy as np
import pyarrow.parquet as pq

from flows.review.evidence import Results
from flows.review.side import Side
from stages.core.paths import Paths


def results(side: Side, model: str, *, not_run: Collection[str] = ()) -> Results:
    """The results of a model; without its predictions, they have no rows.

    `not_run`: the outdated parts of its figures, which are left out: "quality", "cost".
    """
    paths = Paths(side.root)
    quality = {} if "quality" in not_run else side.json(paths.quality(model))
    profile = {} if "cost" in not_run else side.json(paths.profile(model))
    content = None if "quality" in not_run else side.artifact(paths.predictions(model))
    if content is None:
        return Results(np.array([]), np.array([]), np.array([]), quality=quality, profile=profile)
    table = pq.read_table(io.BytesIO(content))
    names = tuple(name.removeprefix("p_") for name in table.column_names if name.startswith("p_"))
    columns = {name: np.array(table[name].to_pylist()) for name in table.column_names if not name.startswith("p_")}
    return Results(
        labels=columns["label"],
        predicted=columns["predicted"],
        row_ids=columns["row_id"],
        slices={
            f"{name.removeprefix('slice: ')}: {value}": values == value
            for name, values in columns.items()
            if name.startswith("slice: ")
            for value in np.unique(values)
        },
        names=names,
        probabilities=np.array([table[f"p_{name}"].to_numpy() for name in names]).reshape(len(names), len(table)).T,
        quality=quality,
        profile=profile,
    )


def clean_texts(side: Side) -> dict[str, str | tuple[str, str]]:
    """Row id -> text, or pair, of each clean row; empty where the rows are not available."""
    content = side.artifact(Paths(side.root).clean)
    if content is None:
        return {}
    table = pq.ParquetFile(io.BytesIO(content))
    columns = [name for name in ("row_id", "text", "text_pair") if name in table.schema_arrow.names]
    row_ids, *texts = (column.to_pylist() for column in table.read(columns).columns)
    return dict(zip(row_ids, texts[0] if len(texts) == 1 else zip(*texts, strict=True), strict=True))


def on_common_rows(model: str, old: Results, new: Results, notes: list[str]) -> tuple[Results, Results] | None:
    """Both results on the rows that both have with the same label, in one order; None where there are none."""
    if not len(old.row_ids) or not len(new.row_ids):
        return None
    common, at_old, at_new = np.intersect1d(old.row_ids, new.row_ids, return_indices=True)
    if len(common) < max(len(old.row_ids), len(new.row_ids)):
        notes.append(
            f"{model}: the test rows are not the same: {len(old.row_ids):,} before, {len(new.row_ids):,} now, "
            f"{len(common):,} in both. Pairs are of those; differences of other numbers are between the two sets."
        )
    same = old.labels[at_old] == new.labels[at_new]
    if relabelled := int((~same).sum()):
        notes.append(
            f"{model}: {relabelled:,} of {len(common):,} test rows have another true label than before, and are left "
            "out of the pairs."
        )
        at_old, at_new = at_old[same], at_new[same]
    if set(old.names) != set(new.names):
        gone, added = sorted(set(old.names) - set(new.names)), sorted(set(new.names) - set(old.names))
        words = [f"{word} {', '.join(names[:5])}" for word, names in (("without", gone), ("with", added)) if names]
        notes.append(f"{model}: the labels are not the same: now {' and '.join(words)}.")
    return (_rows(old, at_old), _rows(new, at_new)) if len(at_new) else None


def _rows(results: Results, at: np.ndarray) -> Results:
    return dataclasses.replace(
        results,
        labels=results.labels[at],
        predicted=results.predicted[at],
        row_ids=results.row_ids[at],
        slices={name: mask[at] for name, mask in results.slices.items()},
        probabilities=results.probabilities[at],
    )
