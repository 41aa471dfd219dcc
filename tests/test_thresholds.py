"""`winnow threshold`: risk against coverage on validation rows, and the threshold proposed for a wanted risk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from flows.answering.threshold import FEWEST, Judged, curve, point, propose, separates


def judged(confidence: Sequence[float], right: Sequence[float]) -> Judged:
    return Judged(np.array(confidence), np.array(right), np.arange(len(right)))


FOUR = judged([0.9, 0.8, 0.6, 0.5], [1, 1, 0, 1])


def test_risk_is_the_share_of_wrong_answers_among_those_that_are_sure_enough() -> None:
    found = point(FOUR, 0.6, 0.95)
    assert found is not None
    assert (found.rows, found.coverage) == (3, 0.75)
    assert found.risk == pytest.approx(1 / 3)
    assert found.low < 1 / 3 < found.high


def test_a_threshold_that_no_answer_reaches_is_no_point() -> None:
    assert point(FOUR, 0.95, 0.95) is None


def test_the_interval_of_no_error_reaches_from_nothing_to_wilsons_end() -> None:
    found = point(judged([0.9] * 40, [1] * 40), 0.5, 0.95)
    assert found is not None
    assert (found.risk, found.low) == (0, 0)
    assert found.high == pytest.approx(1.96**2 / (40 + 1.96**2), abs=1e-4)  # Wilson's for 0 of 40


def test_the_curve_answers_at_least_each_of_its_shares_and_names_no_threshold_twice() -> None:
    found = list(curve(FOUR, 0.95))
    assert [(one.threshold, one.coverage) for one in found] == [
        (0.0, 1.0),
        (0.5, 1.0),
        (0.6, 0.75),
        (0.8, 0.5),
        (0.9, 0.25),
    ]


def steps() -> Judged:
    """200 rows, the surer the righter: of the 100 surest none is wrong, of the others every second."""
    return judged(list(np.linspace(0.99, 0.01, 200)), [1] * 100 + [1, 0] * 50)


def test_the_proposed_threshold_has_the_largest_coverage_whose_upper_end_is_within_the_risk() -> None:
    found = propose(steps(), 0.1, 0.95)
    assert found is not None
    assert found.high <= 0.1
    more = point(steps(), found.threshold - 0.03, 0.95)
    assert more is not None
    assert more.high > 0.1
    assert 0.5 <= found.coverage < 0.6


def test_a_risk_that_every_answer_keeps_proposes_to_answer_all() -> None:
    found = propose(steps(), 0.5, 0.95)
    assert found is not None
    assert (found.threshold, found.coverage) == (0.0, 1.0)


def test_no_threshold_is_proposed_by_few_rows() -> None:
    assert propose(judged([0.9] * (FEWEST - 1), [1] * (FEWEST - 1)), 0.9, 0.95) is None
    assert propose(steps(), 0.001, 0.95) is None


def test_rows_of_one_unit_count_for_fewer_so_that_the_interval_is_wider() -> None:
    alone = point(steps(), 0.0, 0.95)
    together = point(steps()._replace(units_N=np.arange(200) // 20), 0.0, 0.95)
    assert alone is not None
    assert together is not None
    assert together.high > alone.high


def test_the_confidence_separates_right_from_wrong_by_the_share_of_pairs() -> None:
    assert separates(FOUR) == pytest.approx(2 / 3)  # 0.9 and 0.8 are above 0.6, and 0.5 is not
    assert separates(judged([0.7, 0.7], [1, 0])) == 0.5
    assert separates(judged([0.7, 0.6], [1, 1])) is None
