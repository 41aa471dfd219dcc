"""What a model does to groups of people: rates of each with their sizes and intervals, and the gaps between them.

N rows, G groups, K classes, R resamples. A gap is a function of sums, so that `paired.bootstrap` gives its interval:

    rows with, of each group (G,) and class (G, K):  rows | score | given it | have it | have it and are given it
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.stats import norm, rankdata

from stages.core.params.evaluate import EvaluateParams
from stages.measures.counted import Counted, codes
from stages.measures.paired import bootstrap
from stages.measures.score import wilson
from stages.measures.slices import SMALLEST_WORST
from stages.tasks.contract import Judged, Measure

if TYPE_CHECKING:
    from stages.measures.opened import Opened

DIGITS = 6
ROOM = 1e-9
PROBABILITY = "p_"  # of a class, by its name, in the task's own columns


class Grouped(NamedTuple):
    """The rows by group, and what is true of them and given to them."""

    names: tuple[str, ...]
    of_rows_N: np.ndarray
    """The number of each row's group."""
    kinds: tuple[str, ...]
    has_NK: np.ndarray
    gets_NK: np.ndarray
    """bool both: whether a row truly has a class, and whether its answer does."""

    def of(self, group: int) -> np.ndarray:
        """(N,) bool: its rows."""
        found: np.ndarray = self.of_rows_N == group
        return found


def group_rates(judged: Judged, model: Opened, values: Sequence[str], params: EvaluateParams) -> dict[str, Any]:
    """For each group its rows, the mean of their scores and its interval; the worst group; the gaps between groups.

    `score_gap` is the largest difference of that mean. `selection_gap` (demographic parity) is the largest over the
    classes of the gap in the share of rows whose answer has the class; `recall_gap` (equal opportunity) the same of the
    share among rows that truly have it; `false_positive_gap` of that among rows that do not, both between the groups
    that have such rows; `odds_gap` (equalised odds) is the larger of these two. A gap is None where no two groups can
    be compared: a number or an answer has no classes. Their `intervals` are percentiles of resamples of units: as a gap
    is never below 0, and chance alone makes one, they lie above 0 even where groups are treated alike. The worst group
    has the lowest mean of those with 30 rows or more.

    Sources: Hardt et al. 2016, arXiv:1610.02413; Sagawa et al. 2020, arXiv:1911.08731.
    """
    grouped, units_N = _grouped(judged, model, values), codes(np.asarray(judged.units))
    rates = {
        name: _share(judged.scores_N[grouped.of(at)], units_N[grouped.of(at)], params.confidence)
        for at, name in enumerate(grouped.names)
    }
    named = [(of["score"], name, of) for name, of in rates.items()]
    enough = [one for one in named if one[2]["rows"] >= SMALLEST_WORST] or named
    _, name, worst = min(enough, key=lambda one: one[:2])
    found: dict[str, Any] = {"rates": rates, "worst_group": {"name": name, **worst}, "intervals": {}}
    counts = _counts(grouped, judged.scores_N)
    for gap, value in _gaps(grouped, counts).items():
        if value is None:
            found[gap] = None
            continue
        measure = Measure(gap, gap, value, better="lower")
        rows = Counted(counts, judged.scores_N, units_N)
        ends = bootstrap(
            rows, measure, confidence=params.confidence, resamples=params.resamples, seed=judged.seed
        )  # fmt: skip
        found[gap] = round(ends.estimate, DIGITS)
        found["intervals"][gap] = {"low": round(ends.low, DIGITS), "high": round(ends.high, DIGITS)}
    if params.positive_class is not None:
        found["positive_class"] = of_positive_class(judged, model, grouped, units_N, params)
    return found


def _grouped(judged: Judged, model: Opened, values: Sequence[str]) -> Grouped:
    names, numbers_N = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    true_N, given_N = ([{*model.of_measures.kinds(one)} for one in side] for side in (judged.truths, judged.answers))
    kinds = tuple(sorted(set().union(*true_N, *given_N)))
    has_NK, gets_NK = (
        np.array([[kind in own for kind in kinds] for own in side], dtype=bool).reshape(len(side), len(kinds))
        for side in (true_N, given_N)
    )
    return Grouped(tuple(map(str, names)), numbers_N.ravel(), kinds, has_NK, gets_NK)


def _share(scores_N: np.ndarray, units_N: np.ndarray, confidence: float, key: str = "score") -> dict[str, float]:
    ends = wilson(scores_N, codes(units_N), confidence)
    return {
        "rows": len(scores_N), key: round(ends.estimate, DIGITS), "low": round(ends.low, DIGITS),
        "high": round(ends.high, DIGITS),
    }  # fmt: skip


def _counts(grouped: Grouped, scores_N: np.ndarray) -> csr_array:
    """(N, S): of each group its rows and their scores, then of each class those given it, having it, and both."""
    columns = [np.ones((len(scores_N), 1)), scores_N[:, None]]
    columns += [part.astype(float) for part in (grouped.gets_NK, grouped.has_NK, grouped.gets_NK & grouped.has_NK)]
    values_NW = np.concatenate(columns, axis=1)
    width = values_NW.shape[1]
    rows, at = np.nonzero(values_NW)
    shape = (len(scores_N), width * len(grouped.names))
    return csr_array((values_NW[rows, at], (rows, grouped.of_rows_N[rows] * width + at)), shape=shape)


Value = Callable[[Any], np.ndarray]


def _gaps(grouped: Grouped, counts: csr_array) -> dict[str, Value | None]:
    """Each gap as a function of the sums of `_counts`, (R, S) -> (R,); None where there is nothing to compare."""
    groups, classes = len(grouped.names), len(grouped.kinds)

    def parts(sums_RS: Any) -> list[np.ndarray]:
        sums_RGW = np.asarray(sums_RS).reshape(-1, groups, 2 + 3 * classes)
        rows_RG1, score_RG1 = sums_RGW[..., :1], sums_RGW[..., 1:2]
        return [rows_RG1, score_RG1, *np.split(sums_RGW[..., 2:], 3, axis=2)]

    rows_1G1, _, _, had_1GK, _ = parts(counts.sum(axis=0))
    with_K, without_K = ((there_1GK > 0).sum(axis=(0, 1)) > 1 for there_1GK in (had_1GK, rows_1G1 - had_1GK))

    def recall(sums_RS: Any) -> np.ndarray:
        _, _, _, has_RGK, both_RGK = parts(sums_RS)
        return _widest(both_RGK[..., with_K], has_RGK[..., with_K])

    def false_positive(sums_RS: Any) -> np.ndarray:
        rows_RG1, _, gets_RGK, has_RGK, both_RGK = (part for part in parts(sums_RS))
        wrong_RGK, without_RGK = gets_RGK - both_RGK, rows_RG1 - has_RGK
        return _widest(wrong_RGK[..., without_K], without_RGK[..., without_K])

    def selection(sums_RS: Any) -> np.ndarray:
        rows_RG1, _, gets_RGK, _, _ = parts(sums_RS)
        return _widest(gets_RGK, np.broadcast_to(rows_RG1, gets_RGK.shape))

    given = classes > 1 or not grouped.gets_NK.all()  # else each row's answer is of the one class that there is
    return {
        "score_gap": (lambda sums_RS: _widest(parts(sums_RS)[1], parts(sums_RS)[0])) if groups > 1 else None,
        "selection_gap": selection if given and groups > 1 else None,
        "recall_gap": recall if given and with_K.any() else None,
        "false_positive_gap": false_positive if given and without_K.any() else None,
        "odds_gap": (lambda sums_RS: np.maximum(recall(sums_RS), false_positive(sums_RS)))
        if given and with_K.any() and without_K.any()
        else None,
    }


def _widest(found_RGK: np.ndarray, of_RGK: np.ndarray) -> np.ndarray:
    """(R,): the largest difference between groups of found / of, over the classes; a group without rows has no say."""
    there_RGK = of_RGK > 0
    rates_RGK = found_RGK / np.maximum(of_RGK, 1)
    most_RK = np.where(there_RGK, rates_RGK, -np.inf).max(1)
    least_RK = np.where(there_RGK, rates_RGK, np.inf).min(1)
    widest: np.ndarray = np.maximum(np.where(there_RGK.any(1), most_RK - least_RK, 0.0).max(1), 0.0)
    return widest


def of_positive_class(
    judged: Judged, model: Opened, grouped: Grouped, units_N: np.ndarray, params: EvaluateParams
) -> dict[str, Any]:
    """What `evaluate.positive_class`, such as toxic, does to each group: false positives and negatives, and the AUC.

    `false_positive_rate` is the share given the class of the rows without it, `false_negative_rate` that not given it
    of the rows with it; the two `..._differences` are the sums over the groups of how far theirs are from that of all
    rows (Dixon et al. 2018, doi:10.1145/3278721.3278729). `subgroup_auc` is of the group's rows alone; `bpsn_auc` of
    its rows without the class and the others' with it, low where the group's are wrongly thought to have it; `bnsp_auc`
    the other way round (Borkan et al. 2019, arXiv:1903.04561). Raises ValueError for a class that the model does not
    know.
    """
    name = params.positive_class
    columns = model.of_answers.columns(judged.outputs, judged.space)
    known = {key.removeprefix(PROBABILITY): of for key, of in columns.items() if key.startswith(PROBABILITY)}
    if name not in known:
        raise ValueError(
            f"params.yaml: evaluate.positive_class is '{name}'. Allowed: {', '.join([*known, 'null'])}, those that the"
            " model gives a probability."
        )
    has_N, gets_N = (
        np.array([name in model.of_measures.kinds(one) for one in side], dtype=bool)
        for side in (judged.truths, judged.answers)
    )
    of_groups = {
        group: _errors(has_N, gets_N, grouped.of(at), units_N, params.confidence)
        | _aucs(has_N, known[name], grouped.of(at), units_N, params.confidence)
        for at, group in enumerate(grouped.names)
    }
    whole = _errors(has_N, gets_N, np.ones(len(has_N), dtype=bool), units_N, params.confidence)
    return {
        "class": name,
        "all": whole,
        "groups": of_groups,
        **{f"{kind}_differences": _differences(kind, of_groups, whole) for kind in ERRORS},
    }


ERRORS = {"false_positive_rate": (False, True), "false_negative_rate": (True, False)}
"""Of each kind of error whether its rows have the class, and whether they are given it where they are wrong."""


def _errors(
    has_N: np.ndarray, gets_N: np.ndarray, at_N: np.ndarray, units_N: np.ndarray, confidence: float
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, (has, gets) in ERRORS.items():
        rows = at_N & (has_N == has)
        wrong_N = (gets_N[rows] == gets).astype(np.float64)
        found[kind] = _share(wrong_N, units_N[rows], confidence, "rate") if len(wrong_N) else {"rows": 0, "rate": None}
    return found


def _differences(kind: str, of_groups: Mapping[str, Mapping[str, Any]], whole: Mapping[str, Any]) -> float | None:
    """The sum of how far the groups' rates are from that of all rows; None where there is none of all."""
    if whole[kind]["rate"] is None:
        return None
    rates = [of[kind]["rate"] for of in of_groups.values() if of[kind]["rate"] is not None]
    return round(sum(abs(rate - whole[kind]["rate"]) for rate in rates), DIGITS)


def _aucs(
    has_N: np.ndarray, sure_N: np.ndarray, at_N: np.ndarray, units_N: np.ndarray, confidence: float
) -> dict[str, Any]:
    wanted = {
        "subgroup_auc": at_N,
        "bpsn_auc": (at_N & ~has_N) | (~at_N & has_N),
        "bnsp_auc": (at_N & has_N) | (~at_N & ~has_N),
    }
    return {name: _auc(has_N[rows], sure_N[rows], units_N[rows], confidence) for name, rows in wanted.items()}


def _auc(has_N: np.ndarray, sure_N: np.ndarray, units_N: np.ndarray, confidence: float) -> dict[str, Any]:
    """The area under the ROC curve, the rows on both sides, and its interval; None where one side has none.

    Source of the interval, which is of some width also where all are told apart: Newcombe 2006, method 5,
    doi:10.1002/sim.2324; units stand for rows.
    """
    sides = {"rows": int((~has_N).sum()), "positive_rows": int(has_N.sum())}
    if not all(sides.values()):
        return {**sides, "auc": None}
    ranks_N = rankdata(sure_N)
    positive, negative = sides["positive_rows"], sides["rows"]
    auc = float((ranks_N[has_N].sum() - positive * (positive + 1) / 2) / (positive * negative))
    positive, negative = (len(np.unique(units_N[side])) for side in (has_N, ~has_N))
    low = _least_auc(auc, positive, negative, confidence)
    high = 1 - _least_auc(1 - auc, positive, negative, confidence)
    ends = {"low": round(low, DIGITS), "high": round(high, DIGITS)}
    return {**sides, "auc": round(auc, DIGITS), **ends}


def _least_auc(found: float, positive: int, negative: int, confidence: float) -> float:
    """The smallest area of which the one `found` is no further away than chance takes it."""
    z, others = float(norm.ppf((1 + confidence) / 2)), (positive + negative) / 2 - 1

    def beyond(area: float) -> float:
        more = others * ((1 - area) / (2 - area) + area / (1 + area))
        return found - area - z * math.sqrt(area * (1 - area) * (1 + more) / (positive * negative))

    nearest = found - ROOM  # at 1 itself the variance is 0
    return float(brentq(beyond, 0.0, nearest)) if nearest > 0 > beyond(nearest) else found
