"""What several tasks share of counting classes, and of reading the cells of data."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.contracts import RawRow, RejectedRow
from stages.tasks.shared.cells import each_row, list_of
from stages.tasks.shared.found import as_table, by_class, f1, reported, together

ROWS = by_class(["sea", "sky"], np.array([[3, 0], [4, 0], [6, 2]]))


def test_of_each_class_precision_recall_and_f1_are_of_what_was_found_given_and_true() -> None:
    """3 of 4 given are right, of 6 true: 2 * 3 / (4 + 6); of the other none was given."""
    assert ROWS["sea"] == {"precision": 0.75, "recall": 0.5, "f1": 0.6, "found": 3, "given": 4, "true": 6}
    assert ROWS["sky"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "found": 0, "given": 0, "true": 2}
    assert reported(ROWS)["sea"] == {"precision": 0.75, "recall": 0.5, "f1": 0.6, "true": 6}
    assert as_table("place", ROWS).rows[0] == ["sea", 0.75, 0.5, 0.6, 3, 4, 6]


def test_of_all_classes_together_the_counts_are_summed_first() -> None:
    """3 of 4 given, and 3 of 8 true."""
    assert together(ROWS) == {"precision": 0.75, "recall": 0.375}
    assert together({}) == {"precision": 0.0, "recall": 0.0}


def test_f1_of_nothing_is_0() -> None:
    assert f1(np.array([[[3, 0], [4, 0], [6, 0]]])).tolist() == [[0.6, 0.0]]


def test_a_row_that_cannot_be_read_is_set_aside_in_its_place_with_what_is_wrong() -> None:
    def changed(row: RawRow) -> RawRow:
        return row._replace(label=str(list_of(row.label or "", allowed="Allowed: a list")[0]))

    before = RejectedRow("c:1", "not_json", "why", "what")
    rows: list[RawRow | RejectedRow] = [
        RawRow("one", "[1]", "c:0"),
        before,
        RawRow("x" * 300, "{", "c:2"),
        RawRow("three", "{}", "c:3"),
    ]
    found = list(each_row(rows, changed, told_by=lambda row: row.text))
    assert found[:2] == [RawRow("one", "1", "c:0"), before]
    assert found[2] == RejectedRow("c:2", "bad_target", "the target '{' is no JSON. Allowed: a list", "x" * 200)
    assert found[3] == RejectedRow("c:3", "bad_target", "the target '{}' is no list. Allowed: a list", "three")


def test_a_target_that_is_no_list_is_refused_with_its_beginning_alone() -> None:
    with pytest.raises(ValueError, match=r"the target '\"x{59}' is no list"):
        list_of('"' + "x" * 100 + '"', allowed="")
