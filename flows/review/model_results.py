"""A model's results at a revision: its figures and answers; and those of two revisions on their common rows."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.review import earlier
from flows.review.evidence import Results, Sources
from flows.review.markdown import plural
from flows.review.side import Side
from flows.review.task import task_measures, task_of
from stages.core.contracts import Text
from stages.core.paths import MODELS, Paths
from stages.tasks.contract import TaskMeasures

SLICE = "slice: "
COMMON = ("row_id", "unit", "truth", "answer", "score", "confidence")  # to all tasks


def results(side: Side, model: str, *, not_run: Collection[str] = ()) -> Results:
    """The results of a model; without its predictions, they have no rows.

    `not_run`: the outdated parts of its figures, which are left out: "quality", "cost".
    """
    paths, task = Paths(side.root), task_of(side.yaml(side.root / "params.yaml"))
    known = {name for name in MODELS if side.hash_of(paths.quality(name)) is not None}
    if known and model not in known:  # a revision of before there was this model: nothing of it is missing
        return Results(task=task)
    quality = {} if "quality" in not_run else earlier.quality(side.json(paths.quality(model)))
    if "left_out" in quality:  # the task cannot have it
        return Results(task=task)
    profile = {} if "cost" in not_run else side.json(paths.profile(model))
    content = None if "quality" in not_run else side.artifact(paths.predictions(model))
    if content is None:
        return Results(quality=quality, profile=profile, task=task)
    columns = earlier.predictions(_columns(pq.read_table(io.BytesIO(content))), task_measures(task))
    sure = columns.get("confidence")
    return Results(
        row_ids=columns["row_id"],
        units=columns["unit"],
        truths=columns["truth"],
        answers=columns["answer"],
        scores_N=columns["score"],
        confidence_N=None if sure is None or np.isnan(sure).any() else sure,
        own={name: values for name, values in columns.items() if name not in COMMON and not name.startswith(SLICE)},
        slices={
            f"{name.removeprefix(SLICE)}: {value}": values == value
            for name, values in columns.items()
            if name.startswith(SLICE)
            for value in np.unique(values)
        },
        quality=quality,
        profile=profile,
        task=task,
        sources=_sources(side),
    )


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    """The columns by name: numbers as float64, NaN where there is none; truths and answers as objects; texts.

    An array of texts has the width of the longest, and one truth may be as long as a book.
    """

    def of(name: str) -> np.ndarray:
        if pa.types.is_floating(table[name].type):
            return table[name].to_numpy()
        return np.array(table[name].to_pylist(), dtype=object if name in ("truth", "answer") else None)

    return {name: of(name) for name in table.column_names}


Tables = Mapping[str, list[dict[str, str]]]


def tables(side: Side, model: str) -> Tables:
    """The tables of a model that its task shows, by their names: a dictionary for each line."""
    path = Paths(side.root).tables(model)
    files = side.folder(path) if side.hash_of(path) else _earlier_tables(side, model)
    return {
        name.removesuffix(".csv"): list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
        for name, content in files.items()
    }


def _earlier_tables(side: Side, model: str) -> dict[str, bytes]:
    """Each was an out by itself."""
    outs = {f"{name}.csv": side.root / f"artifacts/{name}/{model}.csv" for name in ("reliability", "confusion")}
    found = {name: side.artifact(path) for name, path in outs.items() if side.hash_of(path)}
    return {name: content for name, content in found.items() if content is not None}


def confusion(found: Tables) -> list[tuple[str, str, int]]:
    """(actual, predicted, rows) of the pairs that occur; none where the task has no such table."""
    counts = Counter((line["actual"], line["predicted"]) for line in found.get("confusion", []))
    return [(actual, predicted, rows) for (actual, predicted), rows in sorted(counts.items())]


def reliability(found: Tables) -> list[dict[str, float]]:
    """A bin each; none where the task has no confidence."""
    return [earlier.bins({key: float(value) for key, value in line.items()}) for line in found.get("reliability", [])]


def clean_texts(side: Side) -> dict[str, Text]:
    """Row id -> text, or pair, of each clean row; empty where the rows are not available."""
    table = side.rows(Paths(side.root).clean)
    return {} if table is None else _texts(table)


def _texts(table: pa.Table) -> dict[str, Text]:
    row_ids, *texts = (column.to_pylist() for column in table.columns)
    return dict(zip(row_ids, texts[0] if len(texts) == 1 else zip(*texts, strict=True), strict=True))


def _sources(side: Side) -> Sources:
    """The rows of a side as their source has them, which are read where they are first asked for."""

    def texts(row_ids: np.ndarray) -> Sequence[Text | None]:
        if (table := side.raw_rows) is None:
            return []
        known = side.raw_texts
        if missing := [row_id for row_id in row_ids.tolist() if row_id not in known]:
            found = _texts(table.filter(pc.is_in(table["row_id"], pa.array(missing, table["row_id"].type))))
            known |= {row_id: found.get(row_id) for row_id in missing}
        return [known[row_id] for row_id in row_ids.tolist()]

    return Sources(side.hash_of(Paths(side.root).raw), texts)


def in_both(old: Results, new: Results) -> tuple[np.ndarray, np.ndarray]:
    """(M,) where each row of both stands in the one, and in the other: one id and, in its source, one text.

    Where the texts cannot be had, it is one id.
    """
    _, at_old, at_new = np.intersect1d(old.row_ids, new.row_ids, return_indices=True)
    if not len(at_new) or old.sources is None or new.sources is None or old.sources.md5 == new.sources.md5:
        return at_old, at_new
    before, now = old.sources.texts(old.row_ids[at_old]), new.sources.texts(new.row_ids[at_new])
    if not before or not now:
        return at_old, at_new
    same = np.array([one == other for one, other in zip(before, now, strict=True)])
    return at_old[same], at_new[same]


def same_rows(old: Results, new: Results) -> bool:
    """Whether both have the same rows."""
    return len(old.row_ids) == len(new.row_ids) == len(in_both(old, new)[0])


def ranked_otherwise(task: TaskMeasures, before: Results, after: Results) -> str:
    """Why the answers of two models cannot be compared where their rows were ranked among others; "" where they can."""
    if not len(before.row_ids) or not task.ranked(after.truths.tolist()):
        return ""
    if same_rows(before, after):
        return ""
    return (
        f"the test rows are ranked among each other, and are not the same: {len(before.row_ids):,} before,"
        f" {len(after.row_ids):,} now."
    )


def on_common_rows(model: str, old: Results, new: Results, notes: list[str]) -> tuple[Results, Results] | None:
    """Both results on the rows that both have with the same truth, in one order; None where there are none."""
    if not len(old.row_ids) or not len(new.row_ids) or old.task != new.task:
        return None
    task = task_measures(new.task)
    if ranked_otherwise(task, old, new):
        return None
    at_old, at_new = in_both(old, new)
    if len(at_new) < max(len(old.row_ids), len(new.row_ids)):
        notes.append(
            f"{model}: the test rows are not the same: {len(old.row_ids):,} before, {len(new.row_ids):,} now, "
            f"{len(at_new):,} in both. Pairs are of those; differences of other numbers are between the two sets."
        )
    same = old.truths[at_old] == new.truths[at_new]
    if changed := int((~same).sum()):
        notes.append(
            f"{model}: {changed:,} of {len(at_new):,} test rows have another true {task.kind} than before, and are "
            "left out of the pairs."
        )
        at_old, at_new = at_old[same], at_new[same]
    before, now = (task.classes(side.own.keys()) for side in (old, new))
    if before != now:
        words = [
            f"{word} {', '.join(sorted(names)[:5])}"
            for word, names in (("without", before - now), ("with", now - before))
            if names
        ]
        notes.append(f"{model}: the {plural(task.kind)} are not the same: now {' and '.join(words)}.")
    if not len(at_new):
        return None
    return _scored(old.of_rows(at_old), task), _scored(new.of_rows(at_new), task)


def _scored(found: Results, task: TaskMeasures) -> Results:
    """The same with scores of these rows alone: a task may scale them by the rows that it is given."""
    return dataclasses.replace(found, scores_N=task.scores(found.truths.tolist(), found.answers.tolist()))
