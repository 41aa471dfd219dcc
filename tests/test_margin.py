"""The margin is that of the measure that params.yaml names: a loss that accuracy hides is none that may pass."""

from __future__ import annotations

import numpy as np
from conftest import REPOSITORY
from review_fixtures import answered, rules

from flows.gate.promotion import decide
from flows.gate.rules import Rules
from stages.core.params.file import load_params

MARGIN = 0.03


def limits(measure: str) -> Rules:
    return rules(load_params(REPOSITORY / "params.yaml").promotion.model_copy(update={"margin": MARGIN}), measure)


def quality(truth: np.ndarray, before: np.ndarray, after: np.ndarray, measure: str) -> str:
    ids = np.array([f"row {number:05}" for number in range(len(truth))])
    checks = decide(answered(truth, after, ids), answered(truth, before, ids), limits(measure)).checks
    return next(check.outcome for check in checks if check.name == "quality")


def test_a_label_that_is_lost_is_no_loss_within_the_margin_of_macro_f1() -> None:
    truth = np.repeat(["cat", "dog", "eel"], [1500, 1450, 50])
    after = np.where(truth == "eel", "cat", truth)
    assert (after != truth).mean() < MARGIN, "that many of all rows may be lost"
    assert quality(truth, truth, after, "macro_f1") == "fail"  # from 1 to 0.66


def test_more_lost_than_the_margin_of_accuracy_is_no_pass() -> None:
    truth = np.repeat(["cat", "dog"], 1000)
    after = np.where(np.arange(2000) % 20 == 0, "cow", truth)  # a twentieth
    assert quality(truth, truth, after, "accuracy") == "fail"
