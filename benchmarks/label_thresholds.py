"""Thresholds of labels on rows that fitted nothing: `python benchmarks/label_thresholds.py FOLDER` (GoEmotions' files).

A logistic regression over TF-IDF is fitted to the training rows. Of the other rows some are drawn as validation rows,
to which thresholds are fitted, and 5,000 more tell what these are worth: a half for all labels; the place that is best
for each label's own rows, alone; and what Winnow fits. FOLDER as for benchmarks/published.py. A minute on one core.
Writes label_thresholds.json beside this file.
"""

from __future__ import annotations

import gzip
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import record
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from stages.tasks.multilabel_classification import scores
from stages.tasks.shared.label_thresholds import HALF, PLACES, counted, fitted

VALIDATION_ROWS = (200, 500, 1500, 5000)
TEST_ROWS = 5000
DRAWS = 6
MEASURES = ("macro_f1", "micro_f1")


def read(folder: Path, split: str, labels: int) -> tuple[list[str], np.ndarray]:
    """The texts of a split, and (N, C) bool which labels hold."""
    with gzip.open(folder / f"{split}.tsv.gz", "rt", encoding="utf-8", newline="") as rows:
        found = [row.split("\t")[:2] for row in rows]
    holds_NC = np.zeros((len(found), labels), dtype=bool)
    for row, (_, numbers) in enumerate(found):
        holds_NC[row, [int(number) for number in numbers.split(",")]] = True
    return [text for text, _ in found], holds_NC


def others_answered(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) each, of the rows beside those of training: which labels hold, and their probabilities."""
    labels = len((folder / "labels.txt").read_text(encoding="utf-8").split())
    (texts, holds_NC), *others = (read(folder, split, labels) for split in ("train", "dev", "test"))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    rows = vectorizer.fit_transform(texts)
    asked = vectorizer.transform([text for own, _ in others for text in own])
    of_labels = [
        LogisticRegression(C=3.0, solver="liblinear").fit(rows, holds_N).predict_proba(asked)[:, 1]
        for holds_N in holds_NC.T
    ]
    return np.concatenate([own for _, own in others]), np.stack(of_labels, axis=1)


def alone(holds_NC: np.ndarray, values_NC: np.ndarray) -> np.ndarray:
    """(C,): the threshold with the best F1 of each label's own rows; of equal ones that nearest to a half."""
    found_CG, given_CG, true_C = counted(holds_NC, values_NC)
    nearest_first = np.argsort(np.abs(np.arange(len(PLACES)) - HALF), kind="stable")
    f1_CG = 2 * found_CG / np.maximum(given_CG + true_C[:, None], 1)
    return PLACES[nearest_first[f1_CG[:, nearest_first].argmax(1)]]


def main() -> None:
    """Fit, judge, write."""
    holds_NC, values_NC = others_answered(Path(sys.argv[1]))
    figures: dict[str, Any] = {}
    for rows in VALIDATION_ROWS:
        worth: dict[str, dict[str, list[float]]] = {name: {} for name in MEASURES}
        for seed in range(DRAWS):
            order = np.random.default_rng(seed).permutation(len(values_NC))
            own, test = order[:rows], order[-TEST_ROWS:]
            for measure, found in worth.items():
                score = partial(_score, measure, holds_NC[own])
                each = measure == "macro_f1"
                ways = {
                    "half": 0.5,
                    "each alone": alone(holds_NC[own], values_NC[own]),
                    "fitted": fitted(holds_NC[own], values_NC[own], score, each_counts_the_same=each),
                }
                for way, thresholds in ways.items():
                    found.setdefault(way, []).append(_score(measure, holds_NC[test], values_NC[test] > thresholds))
        figures[str(rows)] = {
            measure: {way: round(statistics.mean(values), 4) for way, values in found.items()}
            for measure, found in worth.items()
        }
    record.write(Path(__file__).with_suffix(".json"), {"draws": DRAWS, "by_validation_rows": figures})


def _score(measure: str, holds_NC: np.ndarray, given_NC: np.ndarray) -> float:
    return scores.score(holds_NC, given_NC)[measure]


if __name__ == "__main__":
    main()
