"""Numbers as targets: how they are read, learned, answered and measured, by hand and against scipy and scikit-learn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TOPICS
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score

from flows.gate.promotion import decide
from flows.gate.rules import Rules
from flows.review.comparison import _paired
from flows.review.evidence import Results
from flows.review.model_results import on_common_rows
from stages.core.contracts import Outputs, RawRow, RejectedRow, Runner
from stages.core.params.file import load_params
from stages.core.params.promotion import PromotionParams
from stages.core.params.task import faults_of_task
from stages.measures import robustness
from stages.measures.counted import counted
from stages.measures.opened import Opened
from stages.measures.paired import difference_interval, interval, measured
from stages.measures.score import Interval
from stages.tasks.regression.answers import ANSWERS
from stages.tasks.regression.baseline import BASELINE
from stages.tasks.regression.data import DATA
from stages.tasks.regression.encoding import ENCODING
from stages.tasks.regression.learning import LEARNING
from stages.tasks.regression.measures import MEASURES
from stages.tasks.regression.settings import SETTINGS

PARAMS = load_params(REPOSITORY / "params.yaml")
TRUTHS, GIVEN = ["1", "2", "3", "4"], ["1.5", "2", "2.5", "5"]


@pytest.mark.parametrize(
    ("cell", "number"),
    [("3.50", "3.5"), ("3", "3"), (" -0.25 ", "-0.25"), ("1e3", "1000"), ("-0.0", "0"), ("  ", None), (None, None)],
)
def test_a_number_is_written_one_way_and_a_blank_is_none(cell: str | None, number: str | None) -> None:
    (row,) = DATA.read([RawRow("text", cell, "a:1")])
    assert row == RawRow("text", number, "a:1")


@pytest.mark.parametrize("cell", ["good", "nan", "inf", "1_000", "3,5"])
def test_what_is_no_number_is_told_with_its_place(cell: str) -> None:
    (row,) = DATA.read([RawRow("text", cell, "a:1")])
    assert isinstance(row, RejectedRow)
    assert (row.origin, row.reason) == ("a:1", "bad_target")
    assert f"'{cell}' is no finite number" in row.detail


def test_an_answer_is_another_one_by_what_the_targets_deviate_not_by_its_digits() -> None:
    model = Opened(SimpleNamespace(space={"mean": 1990.0, "deviation": 10.0}), ANSWERS, MEASURES)  # type: ignore[arg-type]
    assert model.differ("2019", "2024")
    assert model.differ("1990", "1990.5", "1991.2")
    assert not model.differ("1990", "1990.5", "1991")
    assert not model.differ("0.01", "-0.01")


def test_targets_are_deviations_from_the_mean_of_the_training_rows() -> None:
    space = ENCODING.space(["1", "3"])
    assert space == {"mean": 2.0, "deviation": 1.0}
    found = ENCODING.targets(["1", None, "4"], [], [0, 0, 1, 2], space)
    assert found[:2] + found[3:] == [-1.0, -1.0, 2.0]
    assert math.isnan(found[2])
    with pytest.raises(ValueError, match="all training rows have the number 7: there is nothing to learn"):
        ENCODING.space(["7", "7"])


def test_losses_are_squares_and_rows_without_a_number_add_nothing() -> None:
    given, wanted = torch.tensor([[1.0], [0.5], [9.0]]), torch.tensor([3.0, 0.0, math.nan])
    assert LEARNING.loss(given, wanted).tolist() == [4.0, 0.25, 0.0]
    mask = torch.ones(3, 1)
    assert LEARNING.distilled(given, given + 2, mask, temperature=4.0).tolist() == pytest.approx([4.0] * 3)


def test_answers_are_in_the_unit_of_the_data() -> None:
    space, outputs = {"mean": 2.0, "deviation": 0.5}, Outputs(np.array([[1.0], [-2.0]], dtype=np.float32))
    assert ANSWERS.answers(outputs, space) == ["2.5", "1"]
    assert ANSWERS.losses(["2", "1"], outputs, space).tolist() == [0.25, 0.0]
    assert ANSWERS.record(outputs, 1, "text", space) == {"number": 1.0}
    assert ANSWERS.shown({"number": 1.0}) == "1"
    assert ANSWERS.agreement is not None
    assert ANSWERS.agreement(outputs, Outputs(np.add(outputs.values, [[0.09], [-0.11]]))) == 0.5
    assert ANSWERS.shown(ANSWERS.nothing) == "null"


def test_the_measures_of_sums_are_those_of_scipy_and_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    x = 1000 + draw.normal(size=300)  # far from 0, where sums of squares would lose their digits
    y = x + draw.normal(size=300)
    truths, answers, units = [f"{v:.12g}" for v in x], [f"{v:.12g}" for v in y], [str(i // 3) for i in range(300)]
    exact = {
        "pearson": pearsonr(x, y).statistic, "spearman": spearmanr(x, y).statistic, "mae": mean_absolute_error(x, y),
        "r2": r2_score(x, y),
    }  # fmt: skip
    assert [one.name for one in MEASURES.measures] == list(exact)
    for name, value in exact.items():
        measure = MEASURES.measure(name)
        rows = counted(MEASURES, measure, truths, answers, units)
        assert measured(rows, measure) == pytest.approx(value, abs=1e-6)
        low, high, estimate = interval(rows, measure, confidence=0.95, resamples=300, seed=0)
        assert low < estimate < high
        same = difference_interval(rows, rows, measure, confidence=0.95, resamples=100, seed=0)
        assert same.estimate == 0
        assert -0.05 < same.low < 0 < same.high < 0.05  # what 100 units leave open
    assert ANSWERS.score(truths, answers, {}) == pytest.approx({**exact, "mae": -exact["mae"]}, abs=1e-6)


def test_answers_and_measures_keep_the_digits_of_data_far_from_0_or_near_to_it() -> None:
    outputs = Outputs(np.array([[0.5], [-1.25], [2.0]], dtype=np.float32))
    for mean, deviation in ((1.7e9, 1000.0), (2e-7, 1e-8)):
        answers = ANSWERS.answers(outputs, {"mean": mean, "deviation": deviation})
        truths = [f"{mean + part * deviation:.12g}" for part in (0.5, -1.25, 2.0)]
        found = ANSWERS.score(truths, answers, {})
        assert found == pytest.approx({"pearson": 1.0, "spearman": 1.0, "r2": 1.0, "mae": 0.0}, abs=1e-6 * deviation)


def test_an_answer_is_right_by_how_near_it_is() -> None:
    deviation = math.sqrt(1.25)
    assert MEASURES.scores(TRUTHS, GIVEN) == pytest.approx(
        [1 - 0.5 / (2 * deviation), 1, 1 - 0.5 / (2 * deviation), 1 - 1 / (2 * deviation)]
    )
    assert MEASURES.scores(TRUTHS, ["99", "2", "3", "4"])[0] == 0


def test_the_floor_learns_which_words_stand_for_more() -> None:
    texts = [" ".join(TOPICS[topic][at : at + 3]) for topic in ("sea", "forest") for at in range(7)]
    targets = ["1"] * 7 + ["5"] * 7
    space = ENCODING.space(targets)
    model = BASELINE.fit(texts, targets, space, PARAMS.baseline, PARAMS.seed)
    again = BASELINE.opened(model)(["ship harbour", "owl moss"])
    low, high = (float(answer) for answer in ANSWERS.answers(again, space))
    assert low < 2 < 4 < high


def test_parameters_that_numbers_do_not_allow_are_named() -> None:
    finetune = PARAMS.finetune.model_copy(update={"class_weights": "balanced", "label_smoothing": 0.1})
    told = list(SETTINGS.faults(PARAMS.model_copy(update={"finetune": finetune})))
    assert [line.partition(" is ")[0].removeprefix("params.yaml: ") for line in told] == [
        "finetune.class_weights", "finetune.label_smoothing", "validate.min_labels", "promotion.max_ece"
    ]  # fmt: skip
    validate = PARAMS.validate_.model_copy(update={"min_labels": 1, "max_label_share": None})
    promotion = PARAMS.promotion.model_copy(update={"max_ece": None})
    allowed = PARAMS.model_copy(update={"validate_": validate, "promotion": promotion})
    assert list(SETTINGS.faults(allowed)) == []


def _results(truths: list[str], answers: list[str]) -> Results:
    ids = np.array([f"{at:03}" for at in range(len(truths))])
    scores_N = MEASURES.scores(truths, answers)
    return Results(ids, ids, np.array(truths), np.array(answers), scores_N, task="regression")


def test_answers_that_stayed_are_neither_worse_nor_better_where_new_rows_came() -> None:
    truths = [f"{at % 7}" for at in range(250)]
    answers = [f"{at % 7 + 0.5}" for at in range(250)]
    before, after = _results(truths, answers), _results([*truths, *["90"] * 50], [*answers, *["80"] * 50])
    assert before.scores_N[0] != after.scores_N[0], "of other deviations"
    common = on_common_rows("student", before, after, [])
    assert common is not None
    found = _paired("student", *common)
    assert (found.rows, found.worse, found.better, found.p_value) == (250, 0, 0, 1.0)


def test_the_gate_says_a_correlation_as_it_is() -> None:
    truths = [f"{at % 7}" for at in range(400)]
    same = _results(truths, [f"{at % 7 + (at % 3) / 2}" for at in range(400)])
    rules = Rules(PARAMS.promotion.model_copy(update={"floor": 0.5}), MEASURES, MEASURES.measure("pearson"))
    told = {check.name: check for check in decide(same, same, rules).checks}
    assert told["quality"].reason.startswith("Pearson correlation 0.98 -> 0.98: +0, at least -0.")
    assert told["quality"].outcome == "pass"
    few = dataclasses.replace(same.of_rows(np.arange(5)))
    assert {check.name: check.outcome for check in decide(few, few, rules).checks}["quality"] == "inconclusive"


def _of(truths: np.ndarray, given: np.ndarray, name: str) -> Interval:
    measure = MEASURES.measure(name)
    wanted, answers = ([repr(float(one)) for one in side] for side in (truths, given))
    rows = counted(MEASURES, measure, wanted, answers, [str(at) for at in range(len(truths))])
    return interval(rows, measure, confidence=0.95, resamples=200, seed=0)


def test_intervals_stay_where_the_measure_can_be() -> None:
    truths = np.linspace(0, 1, 100)
    given = truths + np.tile([0.01, -0.01], 50)
    for name in ("pearson", "spearman", "r2"):
        found = _of(truths, given, name)
        assert found.low < found.estimate < found.high <= 1.0, name
    assert _of(truths, -given, "pearson").low == -1.0
    assert 0 < _of(truths, given, "mae").low < 0.01 < _of(truths, given, "mae").high < 0.02


def test_an_interval_of_errors_is_that_of_the_same_errors_in_another_unit() -> None:
    draw = np.random.default_rng(0)
    truths = draw.normal(size=60)
    given = truths + draw.normal(size=60)
    one, other = _of(truths, given, "mae"), _of(1000 * truths, 1000 * given, "mae")
    assert [other.low, other.high] == pytest.approx([1000 * one.low, 1000 * one.high], rel=0.03)  # drawn again


@pytest.mark.parametrize("unit", [1.0, 0.01, 1000.0])
def test_the_same_model_passes_with_a_margin_in_the_unit_of_the_data(unit: float) -> None:
    draw = np.random.default_rng(0)
    truths = draw.normal(size=400) * unit
    same = _results([f"{one:.9f}" for one in truths], [f"{one + 0.2 * unit:.9f}" for one in truths])
    rules = Rules(PARAMS.promotion.model_copy(update={"margin": 0.02 * unit}), MEASURES, MEASURES.measure("mae"))
    assert {check.name: check.outcome for check in decide(same, same, rules).checks}["quality"] == "pass"


@pytest.mark.parametrize(("measure", "changes", "told"), [
    ("mae", {"floor": 40.0, "margin": 5.0, "anchor_margin": 10.0}, []),
    ("pearson", {"floor": 40.0, "margin": 0.5}, [
        "params.yaml: promotion.floor is 40, and task.measure 'pearson' is at most 1. Allowed for it: more than 0, less"
        " than 1."
    ]),
])  # fmt: skip
def test_limits_are_in_the_unit_of_the_measure(measure: str, changes: dict[str, float], told: list[str]) -> None:
    task = PARAMS.task.model_copy(update={"name": "regression", "measure": measure})
    promotion = PromotionParams.model_validate(PARAMS.promotion.model_dump() | changes)
    params = PARAMS.model_copy(update={"task": task, "promotion": promotion})
    assert [line for line in faults_of_task(params) if "promotion.max_ece" not in line and "promotion." in line] == told


def test_the_score_of_a_changed_text_is_on_the_scale_of_all_rows() -> None:
    truths = ["0", "10", "20"]

    def predict(texts: Sequence[Any]) -> Outputs:
        return Outputs(np.array([[12.0] if text == "SHIP" else [float(at * 10)] for at, text in enumerate(texts)]))

    space = {"mean": 0.0, "deviation": 1.0}
    model = Opened(Runner("regression", space, predict), ANSWERS, MEASURES)
    judged = model.judge(["5", "ship", "7"], truths, units=truths, seed=0, columns={})
    found = robustness.measure(judged, model, PARAMS.evaluate)["robustness"]["upper_case"]
    assert found["rows"] == 1
    assert found["score"] == pytest.approx(1 - 2 / (2 * np.std([0, 10, 20])), abs=1e-6)
