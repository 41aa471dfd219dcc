"""Entity F1 from sums of counts: against numbers worked out by hand, and those that seqeval gave."""

from __future__ import annotations

import random

import numpy as np
import pytest

from stages.core.contracts import Outputs
from stages.tasks.contract import Judged
from stages.tasks.shared.spans import Span, as_text, of_tags
from stages.tasks.token_classification.measures import MEASURES
from stages.tasks.token_classification.scores import by_kind

ADA, BATH, PARIS = Span(0, 3, "person"), Span(5, 9, "place"), Span(12, 17, "place")
TRUTHS = [as_text([ADA, BATH]), as_text([PARIS])]
ANSWERS = [as_text([ADA, BATH._replace(type="person")]), as_text([PARIS._replace(end=16)])]


def measured(truths: list[str], answers: list[str]) -> dict[str, float]:
    sums = np.asarray(MEASURES.counts(truths, answers).sum(0)).reshape(1, -1)
    return {one.name: float(one.value(sums)[0]) for one in MEASURES.measures}


def test_an_entity_is_found_where_span_and_type_are_right() -> None:
    found = MEASURES.counts(TRUTHS, ANSWERS).toarray()
    # found, given and true: people 1 of 2 and 1, places 0 of 1 and 2, bounds 2 of 3 and 3; no right row of two
    assert found.sum(0).tolist() == [1, 0, 2, 2, 1, 3, 1, 2, 3, 0, 2]
    assert measured(TRUTHS, ANSWERS) == {
        "entity_f1": pytest.approx(2 * 1 / (3 + 3)),
        "type_f1": pytest.approx((2 * 1 / (2 + 1) + 0) / 2),
        "bounds_f1": pytest.approx(2 * 2 / (3 + 3)),
        "exact_match": 0.0,
    }
    assert by_kind(found.sum(0, keepdims=True))[0].tolist() == [[1, 0, 2], [2, 1, 3], [1, 2, 3]]


def test_a_span_given_twice_is_found_once() -> None:
    assert measured([as_text([ADA])], [as_text([ADA, ADA])])["entity_f1"] == pytest.approx(2 * 1 / (2 + 1))


def test_rows_add_up_so_that_any_draw_of_them_has_its_f1() -> None:
    found = MEASURES.counts([as_text([ADA]), as_text([BATH]), "[]"], [as_text([ADA]), "[]", as_text([PARIS])])
    weights_RN = np.array([[1, 1, 1], [2, 1, 0]])
    sums_RS = weights_RN @ found.toarray()
    entity_f1, exact_match = (MEASURES.measure(name).value for name in ("entity_f1", "exact_match"))
    assert entity_f1(sums_RS) == pytest.approx([2 * 1 / (2 + 2), 2 * 2 / (2 + 3)])
    assert exact_match(sums_RS) == pytest.approx([1 / 3, 2 / 3])


def test_nothing_to_find_and_nothing_given_is_no_division_by_zero() -> None:
    assert measured(["[]"], ["[]"]) == {"entity_f1": 0.0, "type_f1": 0.0, "bounds_f1": 0.0, "exact_match": 1.0}


def test_a_rows_score_is_the_f1_of_its_own_spans() -> None:
    truths, answers = [*TRUTHS, "[]", "[]"], [*ANSWERS, "[]", as_text([ADA])]
    assert MEASURES.scores(truths, answers).tolist() == [0.5, 0.0, 1.0, 0.0]


def judged() -> Judged:
    return Judged(
        texts=["", ""], truths=TRUTHS, answers=ANSWERS, outputs=Outputs(np.empty((0, 5))), confidence_N=None,
        losses_N=np.array([0.25, 0.75]), scores_N=np.array([0.5, 0.0]), units=["a", "b"],
        space={"tags": ["O", "B-person", "I-person", "B-place", "I-place"]}, seed=0,
    )  # fmt: skip


def test_the_report_and_the_table_have_the_figures_of_each_type() -> None:
    person = {"precision": 0.5, "recall": 1.0, "f1": 0.666667, "true": 1}
    place = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "true": 2}
    assert MEASURES.report(judged()) == {
        "precision": 0.333333, "recall": 0.333333, "log_loss": 0.5, "per_type": {"person": person, "place": place},
    }  # fmt: skip
    table = MEASURES.tables(judged())["entities"]
    assert table.columns == ("type", "precision", "recall", "f1", "found", "given", "true")
    assert table.rows == [["person", 0.5, 1.0, 0.666667, 1, 2, 1], ["place", 0.0, 0.0, 0.0, 0, 1, 2]]


def test_what_is_compared_between_changed_texts_are_the_types_in_their_order() -> None:
    assert MEASURES.gist(as_text([PARIS, ADA])) == "person place"
    assert MEASURES.kinds(as_text([PARIS, ADA, BATH])) == ("person", "place")


def spans_of(tags: list[str]) -> str:
    return as_text(of_tags(tags, [(at, at + 1) for at in range(len(tags))]))


def test_f1_is_that_of_seqeval_in_its_strict_mode() -> None:
    truths = [["B-x", "I-x", "O", "B-y"], ["O", "B-y", "I-y"], ["B-x", "O"]]
    answers = [["B-x", "I-x", "O", "B-x"], ["O", "B-y", "O"], ["B-x", "O"]]
    found = measured(*([spans_of(tags) for tags in rows] for rows in (truths, answers)))
    # seqeval 1.2.2, f1_score and the macro average of classification_report, mode="strict", scheme=IOB2
    assert found["entity_f1"] == 0.5
    assert found["type_f1"] == pytest.approx(0.4)


def test_f1_is_that_of_seqeval_for_any_tags_that_can_be() -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    from seqeval.scheme import IOB2

    draw = random.Random(5)
    for _ in range(200):
        truths, answers = ([_tags(draw, length) for length in (1, 5, 9)] for _ in range(2))
        theirs = metrics.f1_score(truths, answers, mode="strict", scheme=IOB2, zero_division=0)
        found = measured(*([spans_of(tags) for tags in rows] for rows in (truths, answers)))
        assert found["entity_f1"] == pytest.approx(theirs, abs=1e-12)


def _tags(draw: random.Random, length: int) -> list[str]:
    tags = ["O"]
    for _ in range(length):
        inside = [f"I{tags[-1][1:]}"] if tags[-1] != "O" else []
        tags.append(draw.choice(["O", "B-x", "B-y", *inside, *inside]))
    return tags[1:]
