"""Token F1 and exact match, by the rules of SQuAD 2.0, which are those of 1.1 and a rule for questions without answer.

N rows, R resamples, T tokens of a window; S = 8 counts, of all rows, of those with an answer, and of those without:

    F1 | exact | rows | F1 | exact | rows | exact | rows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.tasks.shared.answer_words import of_row
from stages.tasks.shared.quotes import from_text

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds."""
    found_N2 = np.array([of_row(*row) for row in zip(truths, answers, strict=True)]).reshape(-1, 2)
    return counted(found_N2, np.array([bool(from_text(truth)) for truth in truths], dtype=bool))


def counted(found_N2: np.ndarray, has_answer_N: np.ndarray) -> csr_array:
    """(N, S): the counts of rows by their F1 and exact match, and whether each has an answer."""
    from scipy.sparse import csr_array  # not where a model is only opened

    rows_N3 = np.column_stack([found_N2, np.ones(len(found_N2))])
    with_N1 = has_answer_N[:, None].astype(np.float64)
    return csr_array(np.hstack([rows_N3, rows_N3 * with_N1, rows_N3[:, 1:] * (1 - with_N1)]))


def token_f1(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    """The mean of the rows' F1, (R,)."""
    return _share(sums_RS, 0, 2)


def exact_match(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    """The share of rows whose answer is, to its words, an accepted one, (R,)."""
    return _share(sums_RS, 1, 2)


def parts(sums_RS: csr_array | np.ndarray) -> dict[str, np.ndarray]:
    """The measures of rows with an answer, and the share of those without that are given none; (R,) each."""
    return {
        "answerable_f1": _share(sums_RS, 3, 5),
        "answerable_exact_match": _share(sums_RS, 4, 5),
        "unanswerable_accuracy": _share(sums_RS, 6, 7),
    }


def _share(sums_RS: csr_array | np.ndarray, of: int, among: int) -> np.ndarray:
    dense_RS = sums_RS if isinstance(sums_RS, np.ndarray) else sums_RS.toarray()
    return dense_RS[:, of] / np.maximum(dense_RS[:, among], 1)


MEASURED = {"token_f1": token_f1, "exact_match": exact_match}


def score(truths: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    """Each measure of all rows together, in [0, 1]."""
    return measured(counts(truths, answers))


def measured(found: csr_array) -> dict[str, float]:
    """Each measure of these rows' counts together, by its name."""
    sums = np.asarray(found.sum(0)).reshape(1, -1)
    return {name: float(measure(sums)[0]) for name, measure in MEASURED.items()}


def relative(logits_TK: np.ndarray) -> np.ndarray:
    """The logits of a window's tokens, less those of its first, which stands for no answer in this window.

    So those of several windows of a text can be compared: they all are of the odds of an answer against none.
    """
    return logits_TK - logits_TK[:1]
