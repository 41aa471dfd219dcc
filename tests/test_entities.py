"""Entity F1 from sums of counts, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.tasks.shared.spans import Span
from stages.tasks.token_classification.measures import counts, f1_by_type, f1_of_bounds, f1_of_sums

TYPES = ["place", "person"]
ADA, BATH, PARIS = Span(0, 3, "person"), Span(5, 9, "place"), Span(12, 17, "place")


def test_an_entity_is_found_where_span_and_type_are_right() -> None:
    truths = [[ADA, BATH], [PARIS]]
    answers = [[ADA, BATH._replace(type="person")], [PARIS._replace(end=16)]]
    found = counts(truths, answers, TYPES)
    # places: 0 found of 1 given and 2 true; people: 1 found of 2 given and 1 true; bounds: 2 of 3 and 3
    assert found.sum(0).tolist() == [0, 1, 2, 1, 2, 3, 2, 1, 3]
    sums = found.sum(0, keepdims=True)
    assert f1_of_sums(sums) == pytest.approx([2 * 1 / (3 + 3)])
    assert f1_by_type(sums)[0] == pytest.approx([0, 2 * 1 / (2 + 1)])
    assert f1_of_bounds(sums) == pytest.approx([2 * 2 / (3 + 3)])


def test_rows_add_up_so_that_any_draw_of_them_has_its_f1() -> None:
    found = counts([[ADA], [BATH], []], [[ADA], [], [PARIS]], TYPES)
    weights_RN = np.array([[1, 1, 1], [2, 1, 0]])
    assert f1_of_sums(weights_RN @ found) == pytest.approx([2 * 1 / (2 + 2), 2 * 2 / (2 + 3)])


def test_nothing_to_find_and_nothing_given_is_no_division_by_zero() -> None:
    assert f1_of_sums(counts([[]], [[]], TYPES)).tolist() == [0.0]


def test_a_type_that_training_never_showed_is_named() -> None:
    with pytest.raises(ValueError, match=r"the type 'event' is not known\. Known: place, person"):
        counts([[ADA._replace(type="event")]], [[]], TYPES)
