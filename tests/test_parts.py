"""What got better and worse within the test rows: by label, by type of entity, by slice, with counts and intervals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from review_fixtures import MEASURES, answered, example_review

from flows.review.evidence import Paired, PartChange, Results
from flows.review.page.page import render
from flows.review.parts import _Part, counted_parts, moved_first, parts
from flows.review.pull_request import as_markdown
from flows.review.task import task_measures
from stages.core.params.file import load_params
from stages.measures.score import score_interval

SETTINGS = load_params(REPOSITORY / "params.yaml").evaluate


def results(task: str, truths: Sequence[Any], answers: Sequence[Any], **more: Any) -> Results:
    """A model's answers, as JSON, to rows that are independent."""
    sides = [[json.dumps(entry, separators=(",", ":")) for entry in side] for side in (truths, answers)]
    ids = np.array([f"{i:04}" for i in range(len(truths))])
    return Results(
        row_ids=ids, units=ids, truths=np.array(sides[0]), answers=np.array(sides[1]),
        scores_N=task_measures(task).scores(*sides), task=task, **more,
    )  # fmt: skip


def by_name(old: Results, new: Results) -> dict[tuple[str, str], PartChange]:
    return {(part.by, part.name): part for part in parts("quantized", old, new, task_measures(new.task), SETTINGS)}


def test_a_label_is_worse_only_where_chance_does_not_explain_it_and_has_an_interval() -> None:
    truth = ["a"] * 20 + ["b"] * 20
    new = answered(truth, ["b"] * 15 + ["a"] * 5 + ["b"] * 18 + ["a"] * 2)
    first, second = parts("quantized", answered(truth, truth), new, MEASURES, SETTINGS)
    assert (first.by, first.name, first.measure) == ("label", "a", "accuracy")
    assert (first.rows, first.better, first.worse, first.before, first.after) == (20, 0, 15, 1.0, 0.25)
    assert (first.low, first.high) == score_interval(15, 0, 20, confidence=SETTINGS.confidence)[:2]
    assert (second.name, second.after, second.verdict) == ("b", 0.9, "no clear change")
    assert second.low < -0.1 < second.high
    assert first.verdict == "worse"


def test_a_slice_has_the_rows_of_both_and_is_corrected_for_the_slices_of_its_kind_alone() -> None:
    """Of 6 rows that all turned, p is 1/32: enough for one slice at 95%, too little for one of two."""
    truth = ["a"] * 12
    short = np.arange(12) < 6
    old, new = (answered(truth, answers) for answers in (truth, ["b"] * 6 + ["a"] * 6))
    alone = dataclasses.replace(new, slices={"source: x": short, "source: y": np.zeros(12, dtype=bool)})
    two = dataclasses.replace(new, slices={"length: short": short, "length: long": ~short})
    found = {part.name: part for part in parts("quantized", old, alone, MEASURES, SETTINGS)}
    assert (found["x"].by, found["x"].rows, found["x"].worse, found["x"].verdict) == ("source", 6, 6, "worse")
    assert "y" not in found  # no row of it is in both
    verdicts = {part.name: part.verdict for part in parts("quantized", old, two, MEASURES, SETTINGS)}
    assert verdicts["short"] == verdicts["long"] == "no clear change"


def test_a_column_that_is_called_as_the_classes_are_has_its_slices() -> None:
    rows = [[[0, 1, "x"]]] * 6 + [[]] * 6
    new = results("token_classification", rows, rows)
    new = dataclasses.replace(new, slices={"type: memo": np.arange(12) < 3})
    old = results("token_classification", rows, [[]] * 12)
    assert ("type", "memo") in by_name(old, new)


def test_slices_by_the_label_are_no_parts_beside_the_labels() -> None:
    truth = ["a"] * 6 + ["b"] * 6
    is_a = np.arange(12) < 6
    new = dataclasses.replace(
        answered(truth, truth), slices={"label: a": is_a, "label: b": ~is_a, "length: short": is_a}
    )
    found = [(part.by, part.name) for part in parts("quantized", answered(truth, truth), new, MEASURES, SETTINGS)]
    assert found == [("label", "a"), ("label", "b"), ("length", "short")]


def test_a_part_whose_measure_stays_is_not_worse_where_its_rows_fell() -> None:
    part = _Part("type", "person", "F1", 20, 0, 9, 0.001, -4.5, 0.5, 0.5, -0.1, 0.1)
    assert part.change("quantized", "worse", sure=True).verdict == "no clear change"
    fell = part._replace(after=0.4)
    assert fell.change("quantized", "worse", sure=True).verdict == "worse"


def test_a_type_of_entity_has_an_f1_of_its_own_spans_alone() -> None:
    person, place = [0, 3, "person"], [5, 9, "place"]
    quality = {"per_type": {"person": {"f1": 1.0}, "place": {"f1": 1.0}}}
    truths = [[person, place]] * 20 + [[place]] * 20 + [[]] * 20
    found_all = results("token_classification", truths, truths, quality=quality)
    # Of 20 rows with a person none is found: of ten nothing, of ten as a place.
    given = [[place]] * 10 + [[[0, 3, "place"], place]] * 10 + truths[20:]
    found = by_name(found_all, results("token_classification", truths, given, quality=quality))
    lost, wrongly = found["type", "person"], found["type", "place"]
    assert (lost.measure, lost.rows, lost.worse, lost.before, lost.after) == ("F1", 20, 20, 1.0, 0.0)
    assert lost.verdict == "worse"
    assert (wrongly.rows, wrongly.worse, wrongly.better) == (40, 10, 0)
    assert wrongly.after == pytest.approx(2 * 40 / (50 + 40))
    assert wrongly.low <= wrongly.after - 1 <= wrongly.high
    assert wrongly.verdict == "worse"


def test_a_type_without_a_change_has_an_interval_that_is_not_certain() -> None:
    truths = [[[0, 3, "person"]]] * 5
    one = results("token_classification", truths, truths, quality={"per_type": {"person": {"f1": 1.0}}})
    (part,) = by_name(one, one).values()
    assert (part.before, part.after, part.verdict) == (1.0, 1.0, "no clear change")
    assert part.low < 0 < part.high


def test_labels_of_which_a_row_holds_several_are_compared_one_by_one() -> None:
    quality = {"per_label": {"red": {"f1": 1.0}, "blue": {"f1": 1.0}}}
    truths = [["blue", "red"]] * 12 + [["red"]] * 12
    old = results("multilabel_classification", truths, [["red"]] * 24, quality=quality)
    new = results("multilabel_classification", truths, truths, quality=quality)
    found = by_name(old, new)
    assert {name: (part.rows, part.better, part.verdict) for name, part in found.items()} == {
        ("label", "blue"): (12, 12, "better"), ("label", "red"): (24, 0, "no clear change"),
    }  # fmt: skip


def test_questions_are_compared_by_whether_they_have_an_answer() -> None:
    truths = [[[0, "Ada"]]] * 10 + [[]] * 10
    old = results("question_answering", truths, truths)
    new = results("question_answering", truths, [[[0, "Ada"]]] * 20)
    found = by_name(old, new)
    assert {key: (part.worse, part.after) for key, part in found.items()} == {
        ("answer", "answerable"): (0, 1.0), ("answer", "unanswerable"): (10, 0.0),
    }  # fmt: skip


def test_the_comment_has_what_moved_and_counts_the_rest() -> None:
    review = example_review(8)
    assert [part.verdict for part in moved_first(review.parts)][:3] == ["worse", "better", "no clear change"]
    assert counted_parts(review.parts) == {"label": 8, "length": 1}
    text = as_markdown(review).partition("Better and worse, by label, length")[2].partition("</details>")[0]
    assert "quantized, on the 1,546 test rows of both (95% intervals)." in text
    assert "| label | aiohttp | 45 | 1 | 19 | accuracy 50.0% | 10.0% | -40.0 | -50.0 and -30.0 | ▼ worse |" in text
    assert text.count("| label |") == 2
    assert "No clear change: 6 by label, 1 by length." in text


def test_rows_that_are_not_those_of_before_are_said_where_they_are_compared() -> None:
    review = example_review(8)
    some = dataclasses.replace(review, paired=(Paired("quantized", 300, 47, 56, 0.431, 600, 900),))
    told = "Accuracy of the 300 test rows that both revisions have with the same truth, of 600 before and 900 after"
    assert told in render(some)
    assert "600 before and 900 after, 300 in both, and differences are between the two sets" in render(some)
    assert "between the two sets" not in render(review)


def test_nothing_is_said_of_parts_that_cannot_be_compared() -> None:
    review = example_review(8)
    metrics = tuple(dataclasses.replace(change, withheld="not comparable") for change in review.metrics)
    apart = dataclasses.replace(review, parts=(), metrics=metrics)
    assert "The test rows or the labels are not those of before." in render(apart)
    assert "Better and worse, by" not in as_markdown(apart)
    assert "Confusions that changed most" not in as_markdown(apart)
    assert "Confusions that changed most" in as_markdown(review)
