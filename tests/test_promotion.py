"""The gate: which changes it lets through, which it stops, and how often chance misleads it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from flows.evidence import Check, Results
from flows.promotion import decide
from stages.params import PromotionParams

LIMITS = PromotionParams(
    model="quantized",
    measure="accuracy",
    margin=0.02,
    confidence=0.95,
    slice_margin=0.05,
    min_slice_rows=30,
    max_ece=None,
    max_identity_flip_rate=None,
    max_group_gap=None,
    max_latency_p50_ms=None,
    max_size_mb=None,
)
MEASURES = pytest.mark.parametrize("measure", ["accuracy", "macro_f1"])
NAMES = np.array(["cat", "dog", "eel"])


def _limits(**changes: object) -> PromotionParams:
    return PromotionParams(**{**LIMITS.model_dump(), **changes})


def _models(rows: int, *, lost: int, won: int, wrong: int | None = None) -> tuple[Results, Results]:
    """Candidate and released model. The released one is wrong in a tenth of the rows, the last ones; the candidate
    loses the first rows, and wins the last ones."""
    truth = np.arange(rows) % 3
    released, row = truth.copy(), np.arange(rows)
    released[rows - (rows // 10 if wrong is None else wrong) :] += 1
    candidate = np.where(row < lost, truth + 1, np.where(row >= rows - won, truth, released))
    ids = np.array([f"row {i:05}" for i in row])
    return (
        Results(NAMES[truth], NAMES[candidate % 3], ids, slices={"all": row >= 0}),
        Results(NAMES[truth], NAMES[released % 3], ids),
    )


def _check(name: str, candidate: Results, released: Results | None, limits: PromotionParams = LIMITS) -> Check:
    (check,) = (check for check in decide(candidate, released, limits).checks if check.name == name)
    return check


def _alone(limits: PromotionParams, **known: Any) -> dict[str, Check]:
    """The checks of a candidate that has such quality and profile, as a first release."""
    candidate = dataclasses.replace(_models(100, lost=0, won=0)[0], **known)
    return {check.name: check for check in decide(candidate, None, limits).checks}


@MEASURES
def test_an_equal_candidate_passes(measure: str) -> None:
    decision = decide(*_models(2000, lost=60, won=60), _limits(measure=measure))
    assert decision.outcome == "pass", decision
    assert [check.name for check in decision.checks] == ["quality", "slices"]


@MEASURES
def test_the_same_model_passes(measure: str) -> None:
    assert decide(*_models(200, lost=0, won=0), _limits(measure=measure)).outcome == "pass"


@MEASURES
def test_a_candidate_two_points_worse_fails(measure: str) -> None:
    check = _check("quality", *_models(2000, lost=80, won=40), _limits(measure=measure))
    assert check.outcome == "fail"
    assert "90.0% -> 88.0%: -2.0 points" in check.reason
    assert "surely worse, and not shown to be within the accepted loss of 2.0." in check.reason


def test_a_loss_within_the_margin_passes_even_where_it_is_sure() -> None:
    check = _check("quality", *_models(20_000, lost=200, won=40))
    assert check == Check(
        "quality",
        "pass",
        "accuracy 90.0% -> 89.2%: -0.8 points, at least -1.0 (95% confidence, 20,000 rows); a loss of 2.0 is accepted.",
    )


def test_a_candidate_worse_on_one_slice_alone_fails_and_the_slice_is_named() -> None:
    candidate, released = _models(3000, lost=30, won=30)
    row = np.arange(3000)
    slices = {"length: short": row < 200, "length: long": row >= 200, "source: rare": row < 12}
    decision = decide(dataclasses.replace(candidate, slices=slices), released, LIMITS)
    assert decision.outcome == "fail"
    assert decision.checks[0].outcome == "pass"
    assert decision.checks[1] == Check(
        "slices",
        "fail",
        "length: short (200 rows): accuracy 100.0% -> 85.0%, -15.0 points; a loss of 5.0 is accepted. "
        "2 judged; 1 too small, with fewer than 30 rows.",
    )


def test_a_slice_that_lost_by_chance_does_not_stop_the_candidate() -> None:
    candidate, released = _models(3000, lost=4, won=4)
    # Four right to wrong, none the other way: p = 1/16, though the slice lost ten points.
    slices = {"length: short": np.arange(3000) < 40}
    check = _check("slices", dataclasses.replace(candidate, slices=slices), released)
    assert check.outcome == "pass"
    assert "lowest: length: short (40 rows): accuracy 100.0% -> 90.0%, -10.0 points" in check.reason


def test_many_slices_raise_the_bar_for_each() -> None:
    candidate, released = _models(3000, lost=6, won=6)
    slices = {"length: short": np.arange(3000) < 60}  # p = 1/64: under 0.05, over 0.05 / 5
    assert _check("slices", dataclasses.replace(candidate, slices=slices), released).outcome == "fail"
    slices |= {f"source: {i}": np.arange(3000) % 4 == i for i in range(4)}
    assert _check("slices", dataclasses.replace(candidate, slices=slices), released).outcome == "pass"


def test_a_slice_within_its_margin_does_not_fail_where_the_loss_is_sure() -> None:
    candidate, released = _models(3000, lost=45, won=45)
    slices = {"length: short": np.arange(3000) < 1000}
    assert _check("slices", dataclasses.replace(candidate, slices=slices), released).outcome == "pass"


def test_slices_that_are_too_small_or_absent_are_said_to_be() -> None:
    candidate, released = _models(300, lost=0, won=0)
    small = dataclasses.replace(candidate, slices={"length: short": np.arange(300) < 29})
    assert _check("slices", small, released).reason == "0 judged; 1 too small, with fewer than 30 rows."
    none = dataclasses.replace(candidate, slices={})
    assert _check("slices", none, released) == Check("slices", "pass", "none judged: the test rows have no slices.")


@MEASURES
@pytest.mark.parametrize(("rows", "lost", "won"), [(3, 0, 0), (3, 1, 0), (3, 0, 1), (30, 0, 0), (30, 1, 1), (30, 2, 1)])
def test_a_tiny_test_set_is_inconclusive_and_says_how_many_rows_it_takes(
    measure: str, rows: int, lost: int, won: int
) -> None:
    models = _models(rows, lost=lost, won=won, wrong=max(1, rows // 10))
    decision = decide(*models, _limits(measure=measure))
    assert decision.outcome == "inconclusive"
    assert "Too few rows to tell: an equal model shows it with about" in decision.checks[0].reason


def test_without_a_differing_answer_the_rows_it_takes_are_the_least() -> None:
    reason = _check("quality", *_models(30, lost=0, won=0)).reason
    assert reason.endswith("about 133, even if no answer turns right or wrong, as here, and more if some do."), reason
    assert "at least -8.3 (95% confidence, 30 rows)" in reason  # -1.645 ** 2 / (30 + 1.645 ** 2)


def test_an_unlucky_test_set_that_is_large_enough_is_not_called_too_small() -> None:
    check = _check("quality", *_models(2000, lost=110, won=90))
    assert check.outcome == "inconclusive"
    assert check.reason.endswith(
        "An equal model shows it with 1,578 rows 8 times in 10, so this one may be a little worse."
    ), check.reason


def test_a_test_set_with_other_rows_is_inconclusive() -> None:
    candidate, released = _models(300, lost=0, won=0)
    elsewhere = dataclasses.replace(released, row_ids=np.char.add("other ", released.row_ids))
    decision = decide(candidate, elsewhere, LIMITS)
    assert decision.outcome == "inconclusive"
    assert decision.checks == (
        Check(
            "quality",
            "inconclusive",
            "the two models have no test row in common. Evaluate both models on the same test rows.",
        ),
    )


def test_a_model_without_predictions_is_inconclusive() -> None:
    candidate, released = _models(300, lost=0, won=0)
    empty = Results(np.array([]), np.array([]), np.array([]))
    assert decide(candidate, empty, LIMITS).outcome == decide(empty, released, LIMITS).outcome == "inconclusive"


def test_rows_are_paired_by_id_and_only_those_in_common_count() -> None:
    candidate, released = _models(2500, lost=60, won=60)
    order = np.random.default_rng(0).permutation(2500)[:2300]
    some = Results(released.labels[order], released.predicted[order], released.row_ids[order])
    check = _check("quality", candidate, some)
    assert check.outcome == "pass"
    assert "2,300 rows of 2,500, the others are new" in check.reason


def test_rows_with_another_true_label_are_inconclusive() -> None:
    candidate, released = _models(300, lost=0, won=0)
    labels = released.labels.copy()
    labels[:2] = "fox"
    check = _check("quality", candidate, dataclasses.replace(released, labels=labels))
    assert check.outcome == "inconclusive"
    assert check.reason.startswith("2 of 300 test rows have another true label than before.")


@MEASURES
def test_answers_that_the_released_model_did_not_know_are_judged(measure: str) -> None:
    candidate, released = _models(2000, lost=0, won=0)
    predicted = np.where(np.arange(2000) < 100, "fox", candidate.predicted)
    worse = dataclasses.replace(candidate, predicted=predicted)
    assert decide(worse, released, _limits(measure=measure)).outcome == "fail"


def test_a_first_release_is_held_to_the_limits_alone() -> None:
    candidate = dataclasses.replace(_models(100, lost=0, won=0)[0], profile={"size_mb": 16.0})
    decision = decide(candidate, None, _limits(max_size_mb=50.0))
    assert decision.outcome == "pass"
    assert decision.checks[0] == Check("quality", "pass", "nothing is released yet; only the limits are checked.")
    assert decide(candidate, None, _limits(max_size_mb=15.0)).outcome == "fail"


def test_a_calibration_error_that_is_too_high_after_quantizing_fails() -> None:
    candidate, released = _models(2000, lost=0, won=0)
    released = dataclasses.replace(released, quality={"ece": 0.04})
    decision = decide(dataclasses.replace(candidate, quality={"ece": 0.13}), released, _limits(max_ece=0.1))
    assert decision.outcome == "fail"
    assert decision.checks[-1] == Check("calibration", "fail", "calibration error: 0.13; at most 0.1 is allowed.")


@pytest.mark.parametrize(
    ("rows", "rate", "outcome"),
    [(200, 0.06, "fail"), (200, 0.05, "pass"), (29, 0.06, "inconclusive"), (29, 0.0, "pass"), (0, None, "pass")],
)
def test_answers_that_turn_with_the_identity_words(rows: int, rate: float | None, outcome: str) -> None:
    quality = {"fairness": {"identity_swaps": {"rows": rows, "flip_rate": rate, "mean_change": 0.0}}}
    check = _alone(_limits(max_identity_flip_rate=0.05), quality=quality)["identity terms"]
    assert check.outcome == outcome
    if rate is None:
        assert check.reason == "no row has such words."
    if outcome == "fail":
        assert check.reason == (
            "6% of 200 rows get another answer when their identity words are swapped; at most 5.0% is allowed."
        )


def test_groups_are_judged_where_there_are_groups() -> None:
    limits, swaps = _limits(max_group_gap=0.1), {"rows": 0, "flip_rate": None}
    gap = {"fairness": {"identity_swaps": swaps, "groups": {"accuracy_gap": 0.12}}}
    assert _alone(limits, quality=gap)["groups"].outcome == "fail"
    assert "12; at most 10.0 is allowed" in _alone(limits, quality=gap)["groups"].reason
    assert "groups" not in _alone(limits, quality={"fairness": {"identity_swaps": swaps}})


@pytest.mark.parametrize(
    ("limit", "name", "known"),
    [
        ("max_ece", "calibration", {"quality": {"ece": 2.5}}),
        ("max_latency_p50_ms", "latency", {"profile": {"latency_p50_ms": 2.5}}),
        ("max_size_mb", "size", {"profile": {"size_mb": 2.5}}),
    ],
)
def test_a_limit_holds_to_its_value_and_null_is_no_limit(limit: str, name: str, known: dict) -> None:
    top = 1.0 if limit == "max_ece" else 2.4
    assert _alone(_limits(**{limit: top}), **known)[name].outcome == "fail"
    assert name not in _alone(_limits(), **known)
    exact = {section: dict.fromkeys(values, top) for section, values in known.items()}
    assert _alone(_limits(**{limit: top}), **exact)[name].outcome == "pass"


def test_what_was_not_measured_is_inconclusive() -> None:
    limits = _limits(max_ece=0.1, max_identity_flip_rate=0.05, max_latency_p50_ms=20.0, max_size_mb=50.0)
    checks = _alone(limits, quality={"ece": float("nan")}, profile={"size_mb": None})
    names = ("calibration", "identity terms", "latency", "size")
    assert {name: checks[name].outcome for name in names} == dict.fromkeys(names, "inconclusive")
    assert checks["latency"].reason == "median latency of one row: not measured; at most 20.0 ms is allowed."


def test_a_failed_check_outweighs_one_that_cannot_tell() -> None:
    candidate, released = _models(30, lost=0, won=0)
    assert decide(candidate, released, _limits(max_size_mb=1.0)).outcome == "inconclusive"
    heavy = dataclasses.replace(candidate, profile={"size_mb": 2.0})
    assert decide(heavy, released, _limits(max_size_mb=1.0)).outcome == "fail"


def _pass_rate(measure: str, *, loss: float, times: int = 300, rows: int = 2000, discordant: float = 0.06) -> float:
    """How often the gate passes candidates that truly lose `loss`; the released model is right in 90% of the rows."""
    draw, limits, passed = np.random.default_rng(0), _limits(measure=measure), 0
    lost, won = (discordant + loss) / 2, (discordant - loss) / 2
    for _ in range(times):
        truth, shift = draw.integers(3, size=rows), draw.integers(1, 3, size=rows)
        kind = draw.choice(4, size=rows, p=(0.9 - lost, lost, won, 0.1 - won))
        released = np.where(kind < 2, truth, truth + shift)
        candidate = np.where((kind == 0) | (kind == 2), truth, truth + draw.integers(1, 3, size=rows))
        ids = np.arange(rows)
        new, old = (Results(NAMES[truth], NAMES[answers % 3], ids) for answers in (candidate, released))
        passed += _check("quality", new, old, limits).outcome == "pass"
    return passed / times


@MEASURES
def test_chance_seldom_stops_an_equal_candidate_and_never_lets_a_bad_one_through(measure: str) -> None:
    equal, worse = _pass_rate(measure, loss=0.0), _pass_rate(measure, loss=0.04)
    print(f"{measure}: an equal candidate passes {equal:.1%} of the time, one that loses 4 points {worse:.1%}")
    assert equal >= 0.90
    assert worse <= 0.05


def test_a_candidate_that_loses_just_the_margin_passes_no_more_often_than_the_confidence_allows() -> None:
    assert _pass_rate("accuracy", loss=0.02, times=1000) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
