"""BLEU, chrF and ROUGE from what each row adds, so that a resample of rows, or of documents, has measures of its own.

Counts of a row are those of sacrebleu; BLEU and chrF of their sums are what sacrebleu gives for those rows, ROUGE is a
mean of rows. R resamples; each measure is in [0, 1], and a hundredth of what papers show.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from stages.tasks.shared import rouge

ORDERS = 4  # of BLEU's n-grams
CHARACTERS = 6  # of chrF's
BETA = 2  # chrF: recall counts twice
OF_BLEU, OF_CHRF, OF_ROUGE = 2 + 2 * ORDERS, 3 * CHARACTERS, 3
COLUMNS = OF_BLEU + OF_CHRF + OF_ROUGE
REMEMBERED = 1 << 16  # rows whose counts are kept, a kB each, as each measure asks for them

_BLEU, _CHRF = BLEU(), CHRF(char_order=CHARACTERS, beta=BETA)


def signatures() -> dict[str, str]:
    """What sacrebleu and rouge-score call these settings, for whoever compares figures."""
    for metric in (_BLEU, _CHRF):
        metric.num_refs = 1
    return {"bleu": str(_BLEU.get_signature()), "chrf": str(_CHRF.get_signature()), "rouge": rouge.SIGNATURE}


def counts(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N, COLUMNS) float64: BLEU's lengths, matches and totals; chrF's; ROUGE's three F1."""
    rows = [of_row(truth, answer) for truth, answer in zip(truths, answers, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), COLUMNS)


@functools.lru_cache(maxsize=REMEMBERED)
def of_row(truth: str, answer: str) -> tuple[float, ...]:
    """What a row adds, COLUMNS numbers."""
    ((*of_bleu,),) = _BLEU._extract_corpus_statistics([answer], [[truth]])
    ((*of_chrf,),) = _CHRF._extract_corpus_statistics([answer], [[truth]])
    return (*map(float, of_bleu), *map(float, of_chrf), *rouge.rouge(truth, answer))


def bleu(sums_RS: np.ndarray) -> np.ndarray:
    """(R,): BLEU of the rows of each resample, with exponential smoothing of n-grams without a match.

    Source: Papineni et al. 2002, doi:10.3115/1073083.1073135; Post 2018, arXiv:1804.08771; smoothing method 3 of Chen
    and Cherry 2014.
    """
    given_R, true_R = sums_RS[:, 0], sums_RS[:, 1]
    right_RO, all_RO = sums_RS[:, 2 : 2 + ORDERS], sums_RS[:, 2 + ORDERS : OF_BLEU]
    none_RO = (right_RO == 0) & (all_RO > 0)
    halved_RO = 2.0 ** np.cumsum(none_RO, axis=1)
    share_RO = np.where(none_RO, 1 / halved_RO, right_RO) / np.maximum(all_RO, 1)
    possible_R = (all_RO > 0).all(1) & (right_RO > 0).any(1)
    brevity_R = np.exp(np.minimum(0.0, 1 - true_R / np.maximum(given_R, 1e-300)))
    return np.where(possible_R, brevity_R * np.exp(np.log(np.maximum(share_RO, 1e-300)).mean(1)), 0.0)


def chrf(sums_RS: np.ndarray) -> np.ndarray:
    """(R,): chrF2 of the rows of each resample: F of the mean precision and recall of 1 to 6 characters.

    Lengths of n-grams that one side lacks are left out. Source: Popovic 2015, doi:10.18653/v1/W15-3049.
    """
    given_RO, true_RO, right_RO = (sums_RS[:, OF_BLEU + at : OF_BLEU + OF_CHRF : 3] for at in range(3))
    both_RO = (given_RO > 0) & (true_RO > 0)
    orders_R = np.maximum(both_RO.sum(1), 1)
    precision_R, recall_R = (
        (np.where(both_RO, right_RO, 0.0) / np.maximum(side_RO, 1)).sum(1) / orders_R for side_RO in (given_RO, true_RO)
    )
    spread_R = BETA**2 * precision_R + recall_R
    return np.divide((1 + BETA**2) * precision_R * recall_R, spread_R, out=np.zeros_like(spread_R), where=spread_R > 0)


def of_one(truth: str, answer: str) -> float:
    """chrF of one row, in [0, 1]; 1 where both are empty."""
    return 1.0 if truth == answer else float(chrf(np.array([of_row(truth, answer)]))[0])
