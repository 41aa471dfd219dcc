"""Thresholds of labels: what is counted, by hand; that rare labels keep the common one; and that other rows gain."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from stages.core.contracts import Outputs
from stages.tasks.multilabel_classification import scores
from stages.tasks.multilabel_classification.answers import ANSWERS
from stages.tasks.multilabel_classification.learning import LEARNING
from stages.tasks.shared.label_sets import as_text
from stages.tasks.shared.label_thresholds import FEWEST, HALF, PLACES, STRENGTHS, counted, fitted, places
from stages.tasks.shared.probabilities import log_odds, sigmoid

# Of four rows the first and the third have the label: F1 is 2/3 where one row is given it, then 1/2, 4/5, 2/3.
HOLDS, VALUES = np.array([[True], [False], [True], [False]]), np.array([[0.9], [0.6], [0.3], [0.1]])


def under(value: float) -> float:
    """The largest place under a probability."""
    return float(PLACES[value > PLACES].max())


def f1_of(holds_NC: np.ndarray, given_NC: np.ndarray, average: str = "macro") -> float:
    return float(f1_score(holds_NC, given_NC, average=average, zero_division=0.0))


def test_places_are_even_in_log_odds_and_have_a_half_in_the_middle() -> None:
    assert PLACES[HALF] == 0.5
    assert np.diff(log_odds(PLACES)) == pytest.approx(0.125, abs=1e-3)
    assert (PLACES.min(), PLACES.max()) == (0.002473, 0.997527)


def test_what_each_place_gives_is_counted() -> None:
    found = counted(HOLDS, VALUES)
    assert found.true_C.tolist() == [2]
    for place, value in enumerate(PLACES):
        given = value < VALUES
        assert (found.given_CG[0, place], found.found_CG[0, place]) == (given.sum(), (given & HOLDS).sum())


@pytest.mark.parametrize("each_counts_the_same", [True, False])
def test_the_common_threshold_is_where_f1_is_best_and_of_equal_places_the_nearest_to_a_half(
    each_counts_the_same: bool,
) -> None:
    (found,) = places(counted(HOLDS, VALUES), math.inf, each_counts_the_same=each_counts_the_same)
    assert PLACES[found] == under(0.3) == 0.294215


def two_labels(rows_of_second: int) -> tuple[np.ndarray, np.ndarray]:
    """A label that is best above 0.6, of 200 rows of 400, and one that is best above 0.1, of `rows_of_second`."""
    holds_NC, values_NC = np.zeros((400, 2), dtype=bool), np.full((400, 2), 0.05)
    holds_NC[:200, 0], values_NC[:200, 0], values_NC[200:, 0] = True, 0.8, 0.59
    holds_NC[:rows_of_second, 1], values_NC[:rows_of_second, 1] = True, 0.2
    return holds_NC, values_NC


def test_the_more_rows_a_label_has_the_more_its_threshold_is_its_own() -> None:
    common = float(PLACES[PLACES > 0.59].min())
    for rows, strength, own in ((100, 100.0, True), (10, 1.0, True), (10, 100.0, False), (100, math.inf, False)):
        found = counted(*two_labels(rows))
        at_first, at_second = PLACES[places(found, strength, each_counts_the_same=False)]
        assert at_first == common
        assert at_second == (under(0.2) if own else common), (rows, strength)


def test_a_label_with_few_rows_keeps_the_common_threshold_whatever_they_say() -> None:
    for rows in range(FEWEST):
        for strength in STRENGTHS:
            first, second = places(counted(*two_labels(rows)), strength, each_counts_the_same=False)
            assert first == second
    first, second = places(counted(*two_labels(FEWEST)), 1.0, each_counts_the_same=False)
    assert first > second


def test_a_mean_over_labels_takes_them_as_equals_and_their_sum_does_not() -> None:
    """Both ways F1 is what scikit-learn says of the answers that the chosen place gives."""
    holds_NC, values_NC = two_labels(20)
    found = counted(holds_NC, values_NC)
    for average, each in (("macro", True), ("micro", False)):
        (chosen, _) = places(found, math.inf, each_counts_the_same=each)
        every = [f1_of(holds_NC, values_NC > place, average) for place in PLACES]
        assert every[chosen] == max(every)
    together, equals = (PLACES[places(found, math.inf, each_counts_the_same=each)[0]] for each in (False, True))
    assert (together, equals) == (PLACES[PLACES > 0.59].min(), under(0.2))


def drawn(rows: int, shares: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels that hold in these shares, and probabilities that tell their rows apart in part, and are right."""
    holds_NC = draw.random((rows, len(shares))) < shares
    seen_NC = draw.normal(size=holds_NC.shape) + 2 * holds_NC
    return holds_NC, sigmoid(2 * seen_NC - 2 + log_odds(shares))


def macro_f1(holds_NC: np.ndarray, given_NC: np.ndarray) -> float:
    return scores.score(holds_NC, given_NC)["macro_f1"]


def mean_over_draws(shares: np.ndarray, rows: int) -> dict[str, float]:
    """Macro-F1 on other rows: by thresholds fitted here, by a half, and by each label's best place on its own."""
    draw = np.random.default_rng(5)
    found: dict[str, list[float]] = {"half": [], "own": [], "fitted": []}
    for _ in range(12):
        holds_NC, values_NC = drawn(rows, shares, draw)
        others_NC, asked_NC = drawn(4000, shares, draw)
        counts = counted(holds_NC, values_NC)
        of_each = 2 * counts.found_CG / np.maximum(counts.given_CG + counts.true_C[:, None], 1)
        measured = partial(macro_f1, holds_NC)
        thresholds = fitted(holds_NC, values_NC, measured, each_counts_the_same=True)
        for name, at in (("half", 0.5), ("own", PLACES[of_each.argmax(1)]), ("fitted", thresholds)):
            found[name].append(macro_f1(others_NC, asked_NC > at))
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_of_rare_labels_other_rows_gain_where_each_label_by_itself_would_lose() -> None:
    found = mean_over_draws(np.full(20, 0.02), rows=300)  # six rows a label
    assert found["fitted"] > found["own"] + 0.02, found
    assert found["fitted"] > found["half"] + 0.02, found


def test_of_labels_with_many_rows_nothing_is_lost_against_each_by_itself() -> None:
    found = mean_over_draws(np.array([0.3, 0.1, 0.05, 0.2]), rows=2000)
    assert found["fitted"] > found["own"] - 0.003, found
    assert found["fitted"] > found["half"] + 0.01, found


def test_a_half_stays_where_nothing_is_better_and_where_there_is_nothing_to_learn_from() -> None:
    holds_NC = np.arange(60).reshape(-1, 1) % 2 == 0
    values_NC = np.where(holds_NC, 0.7, 0.3)
    assert fitted(holds_NC, values_NC, partial(macro_f1, holds_NC), each_counts_the_same=True).tolist() == [0.5]
    nothing: dict[str, Any] = {"score": lambda _: 0.0, "each_counts_the_same": False}
    assert fitted(np.zeros((3, 2), dtype=bool), np.full((3, 2), 0.2), **nothing).tolist() == [0.5, 0.5]
    assert fitted(np.zeros((0, 2), dtype=bool), np.zeros((0, 2)), **nothing).tolist() == [0.5, 0.5]


# of a model


@pytest.mark.parametrize("measure", ["micro_f1", "macro_f1", "subset_accuracy"])
def test_a_model_of_tokens_and_one_of_texts_have_the_same_thresholds_and_answer_better(measure: str) -> None:
    shares, space = np.array([0.3, 0.05, 0.02]), {"labels": ["a", "b", "c"]}
    holds_NC, values_NC = drawn(900, shares, np.random.default_rng(2))
    truths = [as_text("abc"[at] for at in np.flatnonzero(row)) for row in holds_NC]
    outputs = Outputs(values_NC.astype(np.float32))
    assert ANSWERS.fitted is not None
    assert LEARNING.fitted is not None
    found = ANSWERS.fitted(truths, outputs, space, measure)
    assert list(found["thresholds"]) == ["a", "b", "c"]
    before, after = (ANSWERS.score(truths, ANSWERS.answers(outputs, one), one)[measure] for one in (space, found))
    assert after > before
    unknown = [math.nan] * 3
    logits = [*log_odds(outputs.values), np.zeros(3)]
    assert LEARNING.fitted([*holds_NC.astype(float).tolist(), unknown], logits, space, measure) == found
    stale = {**space, "thresholds": {"a": 0.9, "b": 0.9, "c": 0.9}}
    assert ANSWERS.fitted(truths, outputs, stale, measure) == found, "what was fitted before counts for nothing"


def test_a_label_is_given_above_its_own_threshold_and_without_one_above_a_half() -> None:
    outputs = Outputs(np.array([[0.3, 0.6], [0.25, 0.75]], dtype=np.float32))
    space = {"labels": ["a", "b"], "thresholds": {"a": 0.25, "b": 0.65}}
    assert ANSWERS.answers(outputs, space) == ['["a"]', '["b"]']
    assert ANSWERS.answers(outputs, {"labels": ["a", "b"]}) == ['["b"]', '["b"]']
    assert scores.threshold("a", space) == 0.25
    assert ANSWERS.record(outputs, 0, "text", space)["labels"] == [{"label": "a", "probability": pytest.approx(0.3)}]
