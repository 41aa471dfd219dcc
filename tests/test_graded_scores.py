"""The gate and the review for a task whose answers are more or less right, and whose rows belong to documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from review_fixtures import example_review
from scipy.sparse import csr_array

from flows.gate.promotion import decide
from flows.gate.rules import Rules
from flows.review import changes
from flows.review.comparison import _flips, _paired
from flows.review.evidence import Check, Results
from flows.review.page.page import render
from flows.review.parts import parts
from flows.review.pull_request import as_markdown
from flows.review.row_images import Rows
from stages.core.params.file import load_params
from stages.tasks.contract import Figure, Measure, TaskMeasures

PARAMS = load_params(REPOSITORY / "params.yaml")


def scores(_: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """An answer says how right it is: "0.5"."""
    return np.array([float(answer) for answer in answers])


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    return csr_array(np.column_stack([scores(truths, answers), np.ones(len(answers))]))


OVERLAP = Measure("overlap", "overlap", lambda sums_RS: sums_RS[:, 0] / sums_RS[:, 1])
TASK = TaskMeasures(
    (OVERLAP,), counts=counts, scores=scores, kind="type", figures=(Figure("length", "length", column="length"),)
)
RULES = Rules(PARAMS.promotion.model_copy(update={"slice_margin": 0.05, "margin": 0.02}), TASK, OVERLAP)


def graded(values: np.ndarray, *, rows_of_unit: int = 1, **more: Any) -> Results:
    ids = np.array([f"{i:05}" for i in range(len(values))])
    units = np.array([f"document {i // rows_of_unit:05}" for i in range(len(values))])
    return Results(
        row_ids=ids,
        units=units,
        truths=np.full(len(values), "1.0"),
        answers=values.astype(str),
        scores_N=values,
        **more,
    )


def _check(name: str, after: Results, before: Results) -> Check:
    return next(check for check in decide(after, before, RULES).checks if check.name == name)


def test_a_loss_in_part_of_each_answer_is_judged_by_the_measure() -> None:
    half = np.tile([0.5, 0.9], 1000)
    assert _check("quality", graded(half), graded(half)).outcome == "pass"
    worse = _check("quality", graded(half - 0.1), graded(half))
    assert worse.outcome == "fail"
    assert worse.reason.startswith("overlap 70.0% -> 60.0%: -10.0 points")


def test_rows_of_one_document_show_less_than_as_many_documents() -> None:
    noise = np.tile([-0.3, 0.3], 200)
    before = np.full(4000, 0.5)
    of_documents = before + np.repeat(noise, 10)
    alone = _check("quality", graded(of_documents), graded(before))
    together = _check("quality", graded(of_documents, rows_of_unit=10), graded(before, rows_of_unit=10))
    assert alone.outcome == "pass"
    assert together.outcome == "inconclusive"
    assert "4,000 rows" in together.reason


def test_a_slice_is_judged_by_the_mean_of_its_scores() -> None:
    before, first = np.full(1000, 0.8), np.arange(1000) < 200
    after = np.where(first, 0.6, 0.8)
    found = _check("slices", graded(after, slices={"length: short": first}), graded(before))
    assert found.outcome == "fail"
    assert "length: short (200 rows): score 80.0% -> 60.0%, -20.0 points" in found.reason
    same = _check("slices", graded(before, slices={"length: short": np.arange(1000) < 30}), graded(before))
    assert same.outcome == "cannot tell", "30 rows whose scores stay rule out no loss of 5 points"


def test_two_tasks_are_not_compared() -> None:
    values = np.full(100, 0.5)
    other = dataclasses.replace(graded(values), task="token_classification")
    found = _check("quality", other, graded(values))
    assert found.outcome == "inconclusive"
    assert found.reason.startswith("the two models are of two tasks, text_classification and token_classification.")


def test_an_answer_that_differs_is_worse_or_better_by_its_score() -> None:
    before, after = graded(np.array([0.5, 0.5, 0.5, 0.5])), graded(np.array([0.7, 0.2, 0.5, 0.6]))
    after.answers[2] = "0.50"
    flips = list(_flips("student", before, after, Rows({}, lambda _: ""), TASK))
    assert [flip.kind for flip in flips] == ["worse", "better", "better", "other"]
    pair = _paired("student", before, after)
    assert (pair.worse, pair.better) == (1, 2)
    # Of the 8 ways to give 0.2, -0.3 and 0.1 signs, all sums are at least as far from 0 as that found, which is 0.
    assert pair.p_value == 1.0


def test_a_figure_is_compared_by_the_column_of_its_rows() -> None:
    quality = {"overlap": 0.5, "length": 3.0}
    old, new = (
        graded(np.full(100, 0.5), quality=quality | {"length": mean}, own={"length": np.tile([mean - 1, mean + 1], 50)})
        for mean in (3.0, 2.0)
    )
    found = {c.metric: c for c in changes.metrics("student", old, new, RULES, PARAMS.evaluate, [])}
    assert (found["length"].low, found["length"].high) == pytest.approx((-1.0, -1.0))
    assert found["length"].verdict == "better"
    assert found["overlap"].name == "overlap"
    assert list(parts("student", old, new, TASK, PARAMS.evaluate)) == []


def test_the_page_of_a_task_without_classes_has_no_section_of_them() -> None:
    review = example_review()
    views = tuple(dataclasses.replace(view, confusion=[]) for view in review.after)
    other = dataclasses.replace(
        review, measures=TASK.measures, score_title=TASK.score_title, kind=TASK.kind, parts=(), before=(), after=views
    )
    page = render(other)
    assert 'id="t-by-part"' not in page
    assert 'id="confusion"' not in page
    assert 'id="calibration"' in page
    assert "Score by length." in page
    assert 'id="t-by-part"' in render(review)
    assert as_markdown(other)
