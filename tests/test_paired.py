"""The statistics of two models on the same rows, against scikit-learn, scipy, and what can be worked out by hand."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from sklearn.metrics import accuracy_score, f1_score

from stages.measures import paired
from stages.measures.bands import Band, bands_of, by_bands, times_needed, together
from stages.measures.counted import Counted, counted
from stages.measures.paired import permutation_test, sign_test, turned
from stages.measures.score import (
    Interval,
    effective_rows,
    independent_difference,
    rows_needed,
    score_interval,
    wilson,
)
from stages.tasks.contract import Measure
from stages.tasks.text_classification.measures import MEASURES

Name = Literal["accuracy", "macro_f1"]
NAMES: tuple[Name, ...] = ("accuracy", "macro_f1")


def _counted(labels: np.ndarray, predicted: np.ndarray, measure: Name, units: np.ndarray | None = None) -> Counted:
    truths, answers = (np.asarray(column).astype(str).tolist() for column in (labels, predicted))
    own = np.arange(len(truths)) if units is None else np.asarray(units)
    return counted(MEASURES, MEASURES.measure(measure), truths, answers, [str(unit) for unit in own])


def measured(labels: np.ndarray, predicted: np.ndarray, *, measure: Name) -> float:
    return paired.measured(_counted(labels, predicted, measure), MEASURES.measure(measure))


def bootstrap(labels: np.ndarray, predicted: np.ndarray, *, measure: Name, **options: Any) -> Interval:
    return paired.bootstrap(_counted(labels, predicted, measure), MEASURES.measure(measure), **options)


def interval(labels: np.ndarray, predicted: np.ndarray, *, measure: Name, **options: Any) -> Interval:
    return paired.interval(_counted(labels, predicted, measure), MEASURES.measure(measure), **options)


def bootstrap_difference(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, *, measure: Name, **options: Any
) -> Interval:
    old, new = (_counted(labels, side, measure) for side in (before, after))
    return paired.bootstrap_difference(old, new, MEASURES.measure(measure), **options)


def difference_interval(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, *, measure: Name, **options: Any
) -> Interval:
    old, new = (_counted(labels, side, measure) for side in (before, after))
    return paired.difference_interval(old, new, MEASURES.measure(measure), **options)


COUNTS = [(0, 5, 40), (5, 0, 40), (3, 9, 60), (44, 33, 600), (1, 1, 5000), (0, 1, 3), (2, 3, 5)]


def _rows(rows: int, *, seed: int, names: tuple[str, ...] = ("cat", "dog", "eel")) -> tuple[np.ndarray, ...]:
    """Labels, and the answers of two models that share most of their mistakes."""
    draw = np.random.default_rng(seed)
    labels, guess = draw.choice(names, rows), draw.choice(names, rows)
    before = np.where(draw.random(rows) < 0.7, labels, guess)
    return labels, before, np.where(draw.random(rows) < 0.8, before, draw.choice(names, rows))


def _sklearn_macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return f1_score(labels, predicted, labels=np.union1d(labels, predicted), average="macro", zero_division=0)


def test_sign_test_by_hand() -> None:
    assert sign_test(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)
    assert sign_test(5, 1, alternative="worse") == pytest.approx((1 + 6) / 2**6)
    assert sign_test(1, 5, alternative="worse") == pytest.approx(1 - 1 / 2**6)


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (3, 8), (10, 10), (100, 60)])
def test_sign_test_does_not_care_which_model_comes_first(lost: int, won: int) -> None:
    assert sign_test(lost, won) == sign_test(won, lost)
    lower_tail = sum(math.comb(lost + won, k) for k in range(min(lost, won) + 1)) / 2 ** (lost + won)
    assert sign_test(lost, won) == pytest.approx(min(1.0, 2 * lower_tail))


def test_sign_test_says_nothing_where_no_row_differs() -> None:
    assert sign_test(0, 0) == sign_test(0, 0, alternative="worse") == 1.0


def test_macro_f1_of_each_model_is_over_its_own_labels_by_hand() -> None:
    labels, before = np.array(["cat", "dog"]), np.array(["cat", "dog"])
    after = np.array(["cat", "eel"])  # of cat 1, of dog and eel 0
    options: Any = {"measure": "macro_f1", "confidence": 0.9, "resamples": 10, "seed": 0}
    assert bootstrap_difference(labels, before, after, **options).estimate == pytest.approx(1 / 3 - 1)
    assert bootstrap_difference(labels, after, before, **options).estimate == pytest.approx(1 - 1 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_estimates_are_those_of_sklearn(seed: int) -> None:
    labels, before, after = _rows(200, seed=seed, names=tuple("abcdefgh"))
    after[0] = "given by one model, true of no row"
    exacts: dict[Name, Any] = {"accuracy": accuracy_score, "macro_f1": _sklearn_macro_f1}
    for measure, exact in exacts.items():
        options: dict[str, Any] = {"measure": measure, "confidence": 0.9, "resamples": 100, "seed": 0}
        assert measured(labels, after, measure=measure) == pytest.approx(exact(labels, after), abs=1e-12)
        assert bootstrap(labels, after, **options).estimate == pytest.approx(exact(labels, after), abs=1e-12)
        difference = exact(labels, after) - exact(labels, before)
        assert bootstrap_difference(labels, before, after, **options).estimate == pytest.approx(difference, abs=1e-12)


def test_labels_may_be_numbers() -> None:
    names, codes = np.unique(np.stack(_rows(100, seed=1)), return_inverse=True)
    codes = codes.reshape(3, 100)
    options: dict[str, Any] = {"measure": "macro_f1", "confidence": 0.9, "resamples": 100, "seed": 0}
    assert bootstrap_difference(*codes, **options) == bootstrap_difference(*names[codes], **options)


def test_interval_of_accuracy_is_that_of_scipy() -> None:
    labels, before, after = _rows(120, seed=2)
    expected = stats.bootstrap(
        (before == labels, after == labels),
        lambda old, new, axis: new.mean(axis) - old.mean(axis),
        paired=True, vectorized=True, method="percentile", confidence_level=0.9, n_resamples=20_000, rng=0,
    ).confidence_interval  # fmt: skip
    found = bootstrap_difference(labels, before, after, measure="accuracy", confidence=0.9, resamples=20_000, seed=1)
    # Differences are multiples of 1 / 120: the quantiles are equal, or neighbours.
    assert found[:2] == pytest.approx((expected.low, expected.high), abs=1 / 120 + 1e-9)


@pytest.mark.parametrize("rare_rows", [0, 2])
def test_interval_of_macro_f1_is_that_of_drawing_rows(rare_rows: int) -> None:
    labels, before, after = _rows(60, seed=3)
    labels[:rare_rows] = before[:rare_rows] = "rare"
    drawn_RN = np.random.default_rng(5).integers(60, size=(40_000, 60))

    def macro_f1(predicted: np.ndarray) -> np.ndarray:
        true_RN, given_RN, names = labels[drawn_RN], predicted[drawn_RN], np.union1d(labels, predicted)
        hits = [((true_RN == name) & (given_RN == name)).sum(1) for name in names]
        either = [(true_RN == name).sum(1) + (given_RN == name).sum(1) for name in names]
        return sum(2 * h / np.maximum(e, 1) for h, e in zip(hits, either, strict=True)) / len(names)

    expected_R = macro_f1(after) - macro_f1(before)
    for confidence in (0.5, 0.9):
        found = bootstrap_difference(
            labels, before, after, measure="macro_f1", confidence=confidence, resamples=40_000, seed=0
        )
        ends = np.quantile(expected_R, ((1 - confidence) / 2, (1 + confidence) / 2))
        assert found[:2] == pytest.approx(ends, abs=0.05 * expected_R.std())


def test_interval_of_one_model_is_that_of_drawing_rows() -> None:
    labels, predicted, _ = _rows(80, seed=4)
    right = int((labels == predicted).sum())
    found = bootstrap(labels, predicted, measure="accuracy", confidence=0.95, resamples=20_000, seed=0)
    expected = stats.binom.ppf((0.025, 0.975), 80, right / 80) / 80  # the bootstrap's own distribution
    assert found[:2] == pytest.approx(expected, abs=1 / 80 + 1e-9)


def test_bootstrap_gives_the_same_interval_for_the_same_seed_in_any_order_of_rows() -> None:
    rows = np.stack(_rows(300, seed=6))
    shuffled = rows[:, np.random.default_rng(0).permutation(300)]
    options: dict[str, Any] = {"measure": "macro_f1", "confidence": 0.95, "resamples": 500}
    assert bootstrap_difference(*rows, **options, seed=1) == bootstrap_difference(*shuffled, **options, seed=1)
    assert bootstrap_difference(*rows, **options, seed=1) != bootstrap_difference(*rows, **options, seed=2)


@pytest.mark.parametrize("measure", ["accuracy", "macro_f1"])
def test_a_model_against_itself_differs_by_nothing(measure: Name) -> None:
    labels, before, _ = _rows(50, seed=7)
    assert bootstrap_difference(
        labels, before, before, measure=measure, confidence=0.95, resamples=200, seed=0
    ) == (0, 0, 0)  # fmt: skip


def test_rows_that_do_not_match_are_an_error() -> None:
    labels, before, after = _rows(10, seed=0)
    options: dict[str, Any] = {"measure": "accuracy", "confidence": 0.9, "resamples": 100, "seed": 0}
    with pytest.raises(ValueError, match="the lengths 10, 9, 10"):
        bootstrap(labels, before[1:], **options)
    with pytest.raises(ValueError, match="the lengths 0, 0, 0"):
        bootstrap_difference(labels[:0], before[:0], after[:0], **options)


def _score_statistic(lost: int, won: int, rows: int, difference: float) -> float:
    """Tango's, with the likeliest shares found by search: won - lost = difference is all that is fixed."""

    def unlikelihood(share_lost: float) -> float:
        shares = (share_lost, share_lost + difference, 1 - 2 * share_lost - difference)
        counts = (lost, won, rows - lost - won)
        return -sum(count * math.log(share) for count, share in zip(counts, shares, strict=True) if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    share = minimize_scalar(unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    return (won - lost - rows * difference) / math.sqrt(rows * (2 * share + difference - difference**2))


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.99])
@pytest.mark.parametrize(("lost", "won", "rows"), COUNTS)
def test_score_interval_ends_where_the_score_statistic_is_z(lost: int, won: int, rows: int, confidence: float) -> None:
    z = stats.norm.ppf((1 + confidence) / 2)
    low, high, estimate = score_interval(lost, won, rows, confidence=confidence)
    assert estimate == (won - lost) / rows
    assert _score_statistic(lost, won, rows, low) == pytest.approx(z, abs=1e-6)
    assert _score_statistic(lost, won, rows, high) == pytest.approx(-z, abs=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 30, 100_000])
def test_score_interval_of_models_that_never_differ(rows: int) -> None:
    z_squared = stats.norm.ppf(0.95) ** 2
    found = score_interval(0, 0, rows, confidence=0.9)
    end = z_squared / (rows + z_squared)
    assert found == pytest.approx((-end, end, 0.0), abs=1e-9)


def test_score_interval_mirrors_when_the_models_change_places() -> None:
    for lost, won, rows in [*COUNTS, (7, 0, 7)]:
        low, high, estimate = score_interval(lost, won, rows, confidence=0.9)
        assert score_interval(won, lost, rows, confidence=0.9) == pytest.approx((-high, -low, -estimate), abs=1e-12)


def test_score_interval_stays_within_range_where_all_is_lost() -> None:
    low, high, estimate = score_interval(7, 0, 7, confidence=0.9)
    assert (low, estimate) == (-1, -1)
    assert -1 < high < 0


def test_score_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw, shares = np.random.default_rng(0), (0.03, 0.05, 0.92)
    drawn = draw.multinomial(300, shares, size=2000)
    found = [score_interval(lost, won, 300, confidence=0.9) for lost, won, _ in drawn]
    inside = np.mean([low <= 0.02 <= high for low, high, _ in found])
    assert 0.88 <= inside <= 0.92  # three standard errors are 0.02


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_score_interval_refuses_counts_that_cannot_be(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        score_interval(*counts, confidence=0.9)


@pytest.mark.parametrize("share", [0.03, 0.06, 0.2])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_rows_needed_are_enough_and_not_far_too_many(share: float, power: float) -> None:
    rows = rows_needed(share, margin=0.02, confidence=0.95, power=power)
    counts = np.random.default_rng(1).multinomial(rows, (share / 2, share / 2, 1 - share), size=1500)
    shown = np.mean([score_interval(lost, won, rows, confidence=0.9).low > -0.02 for lost, won, _ in counts])
    assert power - 0.03 <= shown <= power + 0.06


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.1])
def test_rows_needed_without_a_differing_answer_are_the_least_that_can_show_it(margin: float) -> None:
    rows = rows_needed(0.0, margin=margin, confidence=0.95)
    assert score_interval(0, 0, rows, confidence=0.9).low > -margin
    assert score_interval(0, 0, rows - 1, confidence=0.9).low <= -margin


def test_rows_needed_grow_with_the_share_that_differs() -> None:
    needed = [rows_needed(share, margin=0.02, confidence=0.95) for share in (0, 0.001, 0.01, 0.1, 1)]
    assert needed == sorted(set(needed))
    assert needed[0] == 133  # 1.645 ** 2 * 0.98 / 0.02 = 132.6


def test_rows_needed_refuses_shares_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"discordant_share=1\.5"):
        rows_needed(1.5, margin=0.02, confidence=0.95)


SETTINGS: dict[str, Any] = {"confidence": 0.95, "resamples": 500, "seed": 0}
Z2 = 1.959964**2


def test_few_rows_prove_nothing_even_where_all_are_right() -> None:
    labels = np.array(["a", "b", "a"])
    one = interval(labels, labels, measure="accuracy", **SETTINGS)
    assert one == pytest.approx((3 / (3 + Z2), 1, 1), abs=1e-6)  # Wilson's, of 3 of 3
    both = difference_interval(labels, labels, labels, measure="accuracy", **SETTINGS)
    assert both == pytest.approx((-Z2 / (3 + Z2), Z2 / (3 + Z2), 0), abs=1e-6)


def test_few_rows_of_a_label_prove_nothing_however_many_the_others_have() -> None:
    labels = np.array(["a"] + ["b"] * 100)
    one = interval(labels, labels, measure="macro_f1", **SETTINGS)
    # Half of each: Wilson's of 1 of 1, and of 100 of 100.
    assert one.low <= 1 - math.hypot(Z2 / (1 + Z2), Z2 / (100 + Z2)) / 2
    both = difference_interval(labels, labels, labels, measure="macro_f1", **SETTINGS)
    assert both.low == pytest.approx(-math.hypot(Z2 / (1 + Z2), Z2 / (100 + Z2)) / 2, abs=1e-6)
    assert both.high == -both.low


def test_labels_with_like_numbers_of_rows_are_one_band() -> None:
    labels = np.repeat(["a", "b", "c", "d", "e"], [1, 4, 7, 8, 9])
    right_N = np.ones(len(labels))
    bands = bands_of(labels, right_N, (labels != "c").astype(float), np.arange(len(labels)))
    assert [(band.strata, band.most, band.rows, band.lost, band.won) for band in bands] == [
        (1, 1, 1, 0, 0), (2, 7, 11, 7, 0), (2, 9, 17, 0, 0)
    ]  # fmt: skip
    assert [band.weight for band in bands] == [0.2, 0.4, 0.4]
    estimate = by_bands(labels, lambda at: Interval(0.0, 1.0, float(at.sum()))).estimate
    assert estimate == pytest.approx(0.2 * 1 + 0.4 * 11 + 0.4 * 17)


@pytest.mark.parametrize("turned", [0, 60, 200])
def test_of_labels_with_like_numbers_of_rows_it_takes_as_many_as_of_accuracy(turned: int) -> None:
    band = Band(20, 100, 1.0, 2000, turned // 2, turned // 2)
    needed = 2000 * times_needed([band], margin=0.02, confidence=0.95)
    assert needed == pytest.approx(rows_needed(turned / 2000, margin=0.02, confidence=0.95), rel=0.15)


def test_with_as_many_rows_as_are_said_to_be_needed_an_equal_model_is_shown_eight_times_in_ten() -> None:
    bands = [Band(10, 4, 0.5, 40, 3, 3), Band(10, 40, 0.5, 360, 11, 11)]
    times, draw, shown = times_needed(bands, margin=0.05, confidence=0.95), np.random.default_rng(0), 0
    for _ in range(500):
        parts = []
        for band in bands:
            rows, share = round(times * band.rows), (band.lost + band.won) / band.rows / 2
            lost, won, _ = draw.multinomial(rows, (share, share, 1 - 2 * share))
            parts.append((band.weight, score_interval(lost, won, rows, confidence=0.9)))
        shown += together(parts).low > -0.05
    assert shown / 500 == pytest.approx(0.8, abs=0.06)


def test_of_many_rows_the_interval_of_macro_f1_is_the_bootstraps_or_a_little_wider() -> None:
    draw = np.random.default_rng(5)
    labels = draw.integers(4, size=2_000)
    predicted = np.where(draw.random(2_000) < 0.8, labels, draw.integers(4, size=2_000))
    settings: dict[str, Any] = {"measure": "macro_f1", "confidence": 0.95, "resamples": 2_000, "seed": 0}
    drawn, given = bootstrap(labels, predicted, **settings), interval(labels, predicted, **settings)
    assert given.low <= drawn.low < drawn.high <= given.high
    assert given.high - given.low < 1.15 * (drawn.high - drawn.low)


def test_two_sets_of_rows_have_the_interval_of_both() -> None:
    found = independent_difference(Interval(0.50, 0.58, 0.54), Interval(0.47, 0.57, 0.52))
    assert found == pytest.approx((-0.02 - math.hypot(0.05, 0.04), -0.02 + math.hypot(0.05, 0.04), -0.02))


def test_a_permutation_test_of_few_units_tries_every_sign_by_hand() -> None:
    # Of the 8 ways to sign 1, 1 and 2, the sums 4 and -4 are as far from 0 as 4; -4 is as low as -4.
    assert permutation_test(np.array([1.0, 1.0, 2.0])) == 2 / 8
    assert permutation_test(np.array([-1.0, -1.0, -2.0]), alternative="worse") == 1 / 8
    assert permutation_test(np.array([])) == 1.0


def test_a_permutation_test_of_signs_alone_is_the_sign_test() -> None:
    assert permutation_test(np.array([-1.0] * 3 + [1.0] * 8)) == pytest.approx(sign_test(3, 8))
    many = permutation_test(np.array([-1.0] * 30 + [1.0] * 50))
    assert many == pytest.approx(sign_test(30, 50), abs=0.01)  # of random signs


def test_rows_of_one_unit_turn_together_and_count_once() -> None:
    before, after = np.array([1.0, 1, 1, 0, 1, 0]), np.array([0.0, 0, 0, 1, 1, 0])
    found = turned(before, after, np.array([0, 0, 0, 1, 2, 2]))
    assert (found.worse, found.better) == (3, 1)  # rows
    assert found.p_value == sign_test(1, 1)  # units


def test_scores_between_0_and_1_have_the_permutation_test() -> None:
    found = turned(np.array([0.5, 0.2, 0.9]), np.array([0.7, 0.4, 1.0]), np.arange(3))
    assert (found.worse, found.better) == (0, 3)
    assert found.p_value == pytest.approx(2 / 8)


def test_wilsons_interval_of_rows_that_are_units_is_that_of_scipy() -> None:
    for right, rows in [(0, 5), (3, 10), (200, 211), (7, 7)]:
        scores = np.array([1.0] * right + [0.0] * (rows - right))
        theirs = stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
        assert wilson(scores, np.arange(rows), 0.95) == pytest.approx(
            (theirs.low, theirs.high, right / rows), abs=1e-12
        )


def test_rows_that_are_all_alike_within_their_units_count_as_the_units() -> None:
    values = np.repeat([1.0, 0.0, 1.0, 1.0], 5)
    units = np.repeat(np.arange(4), 5)
    # The variance of the mean is that of the 4 units, with U / (U - 1): 4 * 3 / 4 = 3 rows.
    assert effective_rows(values, units) == pytest.approx(3)
    assert effective_rows(np.ones(20), units) == 4  # nothing shows how alike they are
    assert effective_rows(values, np.arange(20)) == 20


def _correlated(draw: np.random.Generator, groups: int, size: int) -> np.ndarray:
    """Scores, 0 or 1, of `size` rows in each group, right 8 times in 10, alike within it (correlation 0.5)."""
    own = draw.random((groups, 1)) < 0.8
    alike = draw.random((groups, size)) < np.sqrt(0.5)
    return np.where(alike, own, draw.random((groups, size)) < 0.8).astype(float).ravel()


@pytest.mark.parametrize("measure", ["accuracy", "macro_f1"])
def test_intervals_by_units_hold_the_truth_as_often_as_they_say_and_those_by_rows_do_not(measure: Name) -> None:
    draw, groups, size, runs = np.random.default_rng(0), 150, 5, 400
    units, labels = np.repeat(np.arange(groups), size), np.tile(["a", "b"], groups * size // 2)
    other, of = np.where(labels == "a", "b", "a"), MEASURES.measure(measure)
    settings: dict[str, Any] = {"confidence": 0.95, "resamples": 300, "seed": 0}
    inside = np.zeros(2)
    for _ in range(runs):
        predicted = np.where(_correlated(draw, groups, size) == 1, labels, other)
        for way, own in enumerate((units, None)):
            found = paired.bootstrap if measure == "macro_f1" else paired.interval
            low, high, _ = found(_counted(labels, predicted, measure, own), of, **settings)
            inside[way] += low <= 0.8 <= high
    by_units, by_rows = inside / runs
    assert 0.93 <= by_units <= 0.97
    assert by_rows < 0.85


def test_a_band_that_is_lost_as_a_whole_has_an_interval_in_units_of_any_size() -> None:
    for rows, units in ((25, 7), (22, 15), (47, 3), (49, 1)):
        labels, own = np.array(["a"] * rows), np.arange(rows) % units
        other = np.array(["b"] * rows)
        for measure in NAMES:
            before, after = (_counted(labels, side, measure, own) for side in (labels, other))
            found = paired.difference_interval(before, after, MEASURES.measure(measure), **SETTINGS)
            assert -1 <= found.low <= found.high < (0 if units > 5 else 1)


def test_equal_scores_that_are_no_whole_numbers_count_as_their_units() -> None:
    assert effective_rows(np.full(10, 2 / 3), np.repeat(np.arange(5), 2)) == 5
    assert effective_rows(np.full(30, 0.1), np.repeat(np.arange(10), 3)) == 10


@pytest.mark.parametrize("units", [1, 5, 400])
def test_few_units_leave_something_open_for_a_measure_that_has_no_strata(units: int) -> None:
    share = Measure("share", "share", lambda sums_RS: sums_RS[:, 0] / sums_RS[:, 1])
    counts = csr_array(np.ones((units, 2)))
    rows = Counted(counts, np.ones(units), np.arange(units))
    low, high, estimate = paired.interval(rows, share, **SETTINGS)
    assert (high, estimate) == (1, 1)
    assert low == pytest.approx(1 - Z2 / (units + Z2), abs=1e-6)
    both = paired.difference_interval(rows, rows, share, **SETTINGS)
    assert both == pytest.approx((-Z2 / (units + Z2), Z2 / (units + Z2), 0), abs=1e-6)
