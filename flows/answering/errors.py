"""The test rows that a model answers wrongly, with what may say why: slices, and the nearest training rows.

All is read from artifacts/predictions and artifacts/data/clean.parquet: no model runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.answering.neighbours import Near, nearest
from flows.dvc.locked import locked_stages, saw_these_rows
from flows.review.marks import Mark, in_words
from flows.review.task import project_task
from stages.core.paths import Paths
from stages.reading.clean_rows import TEXT_PAIR, read_split
from stages.tasks.contract import TaskMeasures

SLICE = "slice: "  # before the name of a column of slices
NO_PLACE = "(none)"  # the words of an answer that names no place


@dataclass(frozen=True)
class WrongRow:
    """A test row, and the wrong answer to it."""

    row_id: str
    text: str
    text_pair: str | None
    truth: str
    answer: str
    truth_words: str
    """The same in words: spans as `person: "Ada Lovelace"`."""
    answer_words: str
    score: float
    """How right it is, in [0, 1]."""
    confidence: float | None
    slices: Mapping[str, str]
    near: Sequence[Near]

    @property
    def whole(self) -> str:
        """The text, of a pair both, a space between."""
        return self.text if self.text_pair is None else f"{self.text} {self.text_pair}"


@dataclass(frozen=True)
class WrongRows:
    """The wrong answers of one model."""

    model: str
    rows: Sequence[WrongRow]
    wrong: int
    """How many there are, of which `rows` are the first."""
    of: int
    """The test rows."""
    by_confidence: bool
    """Whether those come first that the model is surest of; else those that are farthest from the truth."""
    score: str
    """What the score of an answer is called."""
    partly: bool
    """Whether some are right in part: spans, sets, numbers and written texts can be, one label cannot."""

    @property
    def told(self) -> str:
        """How many are wrong, in words."""
        wholly = ", or not wholly" if self.partly else ""
        return f"{self.wrong:,} of {self.of:,} answers of {self.model} to test rows are not right{wholly}."


def wrong_rows(paths: Paths, model: str, *, limit: int, neighbours: int) -> WrongRows:
    """Up to `limit` of a model's wrong answers, each with the nearest `neighbours` training rows.

    Wrong is what has a score under 1. Raises FileNotFoundError where the model was not evaluated, and ValueError where
    it was on other rows than there are now.
    """
    file = paths.predictions(model)
    if not file.is_file():
        raise FileNotFoundError(f"no {file} yet. Run `winnow reproduce --stage evaluate@{model}`.")
    found = pq.read_table(file).to_pylist()
    test = {row["row_id"]: row for row in read_split(paths.clean, "test").to_pylist()}
    others = (row["row_id"] for row in found if test.get(row["row_id"], {}).get("label") != row["truth"])
    if other := next(others, None):
        raise ValueError(
            f"{file} has the row {other}, and {paths.clean} has it not among its test rows, or with another target."
            f" Run `winnow reproduce --stage evaluate@{model}`."
        )
    if saw_these_rows(locked_stages(paths.root), f"evaluate@{model}") is False:  # in each place stands another text
        raise ValueError(
            f"{file} is of other rows than {paths.clean}, as dvc.lock says. Run `winnow reproduce --stage"
            f" evaluate@{model}`."
        )
    wrong = [row for row in found if row["score"] < 1]
    by_confidence = all(row["confidence"] is not None for row in wrong)
    wrong.sort(key=lambda row: (-row["confidence"] if by_confidence else 0, row["score"], row["row_id"]))
    measures, _ = project_task(paths.root)
    rows = [_row(row, test[row["row_id"]], measures) for row in wrong[:limit]]
    near = nearest(paths.clean, [row.whole for row in rows], neighbours)
    rows = [_with(row, own, measures) for row, own in zip(rows, near, strict=True)]
    partly = any(row["score"] > 0 for row in wrong)
    return WrongRows(model, rows, len(wrong), len(found), by_confidence, measures.score_title, partly)


def _row(found: Mapping[str, Any], own: Mapping[str, Any], measures: TaskMeasures) -> WrongRow:
    truth, answer = found["truth"], found["answer"]
    return WrongRow(
        row_id=found["row_id"], text=own["text"], text_pair=own.get(TEXT_PAIR), truth=truth, answer=answer,
        truth_words=words(own["text"], truth, measures), answer_words=words(own["text"], answer, measures),
        score=found["score"], confidence=found["confidence"], near=(),
        slices={name.removeprefix(SLICE): str(value) for name, value in found.items() if name.startswith(SLICE)},
    )  # fmt: skip


def _with(row: WrongRow, near: Sequence[Near], measures: TaskMeasures) -> WrongRow:
    return replace(row, near=tuple(one._replace(truth=words(one.text, one.truth, measures)) for one in near))


def words(text: str, answer: str, measures: TaskMeasures) -> str:
    """An answer as people read it: the places that it names with their words, anything else as it is."""
    if measures.marks is None:
        return answer
    return in_words(text, [Mark(*found) for found in measures.marks(answer)]) or NO_PLACE


def as_rows(found: WrongRows) -> list[dict[str, Any]]:
    """The rows for a table: a column for each slice, and three for each training row beside them."""
    return [_as_row(row) for row in found.rows]


def _as_row(row: WrongRow) -> dict[str, Any]:
    pair = {} if row.text_pair is None else {TEXT_PAIR: row.text_pair}
    near = {
        f"near_{at}_{name}": value
        for at, one in enumerate(row.near, start=1)
        for name, value in (("text", one.text), ("truth", one.truth), ("similarity", one.similarity))
    }
    return {
        "row_id": row.row_id, "text": row.text, **pair, "truth": row.truth_words, "answer": row.answer_words,
        "score": row.score, "probability": row.confidence,
        **{f"{SLICE}{name}": value for name, value in row.slices.items()}, **near,
    }  # fmt: skip


NUMBERS = {"score": pa.float64(), "probability": pa.float64()}
"""Columns of such a table that are numbers."""
