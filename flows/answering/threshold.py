"""How often a model errs among the answers that it is sure of: risk against coverage, and a threshold for a risk.

All is measured on validation rows; the test rows only show what became of the choice. Coverage is the share of rows
that are answered, risk 1 minus the mean score of these. N rows.

Source: Geifman and El-Yaniv 2017, arXiv:1705.08500.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from stages.core.contracts import Text
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.measures.opened import Opened, opened
from stages.measures.score import wilson
from stages.reading.clean_rows import GROUP, read_split, texts_of

SHOWN = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""The coverages of the table."""
CANDIDATES = 200  # thresholds that are looked at
FEWEST = 30  # answers of a threshold that is proposed: with fewer their risk is too uncertain
DIGITS = 4  # of a threshold
BATCH = 2048


class Answered(NamedTuple):
    """A model's answers to N rows: how sure it is of each, how right that is, and the unit that each row is of."""

    confidence_N: np.ndarray
    scores_N: np.ndarray
    units_N: np.ndarray


class Point(NamedTuple):
    """The rows answered with a threshold. Shares."""

    threshold: float
    coverage: float
    rows: int
    """Those that are answered."""
    risk: float
    low: float
    high: float
    """The ends of the risk's interval."""


class Fitted(NamedTuple):
    """What validation rows say of thresholds."""

    curve: tuple[Point, ...]
    """One for each of SHOWN, the largest coverage first."""
    separates: float | None
    """The chance that the model is surer of a right answer than of a wrong one (AUROC); None without one of either."""
    proposed: Point | None
    """The largest coverage whose risk is, by the upper end of its interval, not above the wanted one; None: none is."""
    on_test: Point | None
    """The proposed threshold on the test rows, which it was not chosen by."""
    score: str
    """What 1 - risk is called: "accuracy"."""


def fit(paths: Paths, model: str, risk: float | None) -> Fitted:
    """What a model's validation rows say of thresholds, and the one proposed for a wanted risk.

    Raises ValueError where models of the task answer without a confidence.
    """
    params = load_params(paths.params)
    found = opened(paths.model(model))
    if found.of_answers.confidence is None:
        raise ValueError(
            f"models of the task '{found.runner.task}' answer without a confidence, so there is nothing to set a"
            " threshold on. `winnow errors` shows the answers that are farthest from the truth."
        )
    validation = judged(found, paths, "validation")
    sure = params.evaluate.confidence
    proposed = None if risk is None else propose(validation, risk, sure)
    return Fitted(
        curve=tuple(curve(validation, sure)),
        separates=separates(validation),
        proposed=proposed,
        on_test=proposed and point(judged(found, paths, "test"), proposed.threshold, sure),
        score=found.of_measures.score_title,
    )


def judged(model: Opened, paths: Paths, split: str) -> Answered:
    """The model's answers to the rows of a split. Its task has a confidence."""
    rows = read_split(paths.clean, split, GROUP)
    texts, truths = texts_of(rows, paths.images), rows["label"].to_pylist()
    parts = [_asked(model, texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
    answers = [answer for _, own in parts for answer in own]
    return Answered(
        np.concatenate([confidence for confidence, _ in parts]),
        model.of_measures.scores(truths, answers),
        np.asarray(rows[GROUP].to_pylist()),
    )


def _asked(model: Opened, texts: Sequence[Text]) -> tuple[np.ndarray, Sequence[str]]:
    outputs, answers = model.ask(texts)
    confidence = model.confidence(outputs, answers)
    assert confidence is not None
    return confidence, answers


def point(found: Answered, threshold: float, confidence: float) -> Point | None:
    """The rows of which the model is as sure as `threshold`, or surer; None where there are none."""
    at = found.confidence_N >= threshold
    if not at.any():
        return None
    right = wilson(found.scores_N[at], found.units_N[at], confidence)
    return Point(
        threshold, float(at.mean()), int(at.sum()), 1 - right.estimate, 1 - right.high, 1 - right.low
    )  # fmt: skip


def curve(found: Answered, confidence: float) -> Iterator[Point]:
    """A point for each coverage of SHOWN: the threshold that answers at least that share; none that adds no row."""
    seen: set[int] = set()
    for coverage in SHOWN:
        one = point(found, _threshold(found.confidence_N, coverage), confidence)
        if one is not None and one.rows not in seen:
            seen.add(one.rows)
            yield one


def _threshold(confidence_N: np.ndarray, coverage: float) -> float:
    """The largest threshold, of DIGITS digits, with which at least that share of the rows is answered."""
    if coverage >= 1:
        return 0.0
    ordered_N = np.sort(confidence_N)[::-1]
    last = ordered_N[max(int(np.ceil(coverage * len(ordered_N) - 1e-9)), 1) - 1]
    return math.floor(float(last) * 10**DIGITS) / 10**DIGITS


def propose(found: Answered, risk: float, confidence: float) -> Point | None:
    """The threshold of the largest coverage at which the upper end of the risk's interval is not above `risk`."""
    for coverage in np.linspace(1, 0, CANDIDATES, endpoint=False):
        one = point(found, _threshold(found.confidence_N, float(coverage)), confidence)
        if one is None or one.rows < FEWEST:
            return None
        if one.high <= risk:
            return one
    return None


def separates(found: Answered) -> float | None:
    """AUROC of the confidence, of right answers (a score of 1) against others; None where all are alike."""
    right_N = found.scores_N >= 1
    if right_N.all() or not right_N.any():
        return None
    return float(roc_auc_score(right_N, found.confidence_N))
