"""The equal treatment of people: by a column that names their group, and by swapping the words that do."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.contracts import as_one, each
from stages.core.params.evaluate import EvaluateParams
from stages.measures.identity_words import pairs_of
from stages.measures.robustness import compared
from stages.measures.slices import values_of
from stages.tasks.contract import Judged

if TYPE_CHECKING:
    from stages.measures.opened import Opened


def measure(judged: Judged, model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """`fairness`: `identity_swaps`, and `groups` where `evaluate.group_column` names a column."""
    found: dict[str, Any] = {
        "identity_swaps": swap_rates(judged, model, pairs_of(params.identity_swaps), params.perturbed_rows)
    }
    if params.group_column is not None:
        found["groups"] = group_rates(judged, model, params.group_column)
    return {"fairness": found}


def swap_rates(
    judged: Judged, model: Opened, swaps: Sequence[Sequence[str]], most: int
) -> dict[str, float | int | None]:
    """The change of answers when each identity word is swapped, for a number of `rows` with one, at most `most`.

    `flip_rate` is the share of answers that change, `mean_change` the change of the confidence in the answer given
    first. Rates are None where no row holds such a word, and `mean_change` where the task has no confidence, or its
    answers name places in the text, which a swap moves. Of answers that are texts, the words may be swapped in these
    too, and `similarity` is how alike they are in the mean. Where an answer is of the text itself, such as how likely
    it is, nothing flips, and `mean_change` is that of the score.
    """
    swap = swapper(swaps)
    swapped = [(i, other) for i, text in enumerate(judged.texts) if (other := each(swap, text)) != text]
    if len(swapped) > most:
        swapped = sorted(random.Random(judged.seed).sample(swapped, most))
    if not swapped:
        return {"rows": 0, "flip_rate": None, "mean_change": None}
    rows, task = [i for i, _ in swapped], model.of_measures
    first, asked = [judged.answers[i] for i in rows], model.ask([text for _, text in swapped])
    after = list(asked.answers)
    if task.alike is not None:
        after = [one if swap(other) == one else other for one, other in zip(first, after, strict=True)]
    change = None
    if task.own_truth is not None:
        scores_R = task.scores([task.own_truth(as_one(text)) for _, text in swapped], after)
        change = round(float(np.abs(scores_R - judged.scores_N[rows]).mean()), 6)
    elif judged.confidence_N is not None and judged.outputs.offsets is None:
        sure_R = model.confidence(asked.outputs, first)
        assert sure_R is not None
        change = round(float(np.abs(sure_R - judged.confidence_N[rows]).mean()), 4)
    return {"rows": len(swapped), **compared(task, first, after), "mean_change": change}


def swapper(swaps: Sequence[Sequence[str]]) -> Callable[[str], str]:
    """A function that replaces every whole word of a pair by the other, with its case kept."""
    others = {a.lower(): b for a, b in swaps} | {b.lower(): a for a, b in swaps}
    if not others:
        return str
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, others))})(?!\w)", flags=re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: _like(match[0], others[match[0].lower()]), text)


def _like(word: str, other: str) -> str:
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def group_rates(judged: Judged, model: Opened, column: str) -> dict[str, Any]:
    """For each group its rows and the mean of their scores; and the largest gaps between groups.

    `score_gap` is of that mean. `selection_gap` (demographic parity) is the largest over the classes of the gap in the
    share of rows whose answer has the class; `recall_gap` (equal opportunity) the same of the share among rows that
    truly have it, over the classes that every group has.
    """
    group_N = values_of(judged, column)
    groups = {str(group): group_N == group for group in np.unique(group_N)}
    scores = {group: float(judged.scores_N[mask].mean()) for group, mask in groups.items()}
    true_N, given_N = ([{*model.of_measures.kinds(one)} for one in side] for side in (judged.truths, judged.answers))
    selection, recall = [], []
    for kind in sorted(set().union(*true_N, *given_N)):
        has_N, gets_N = (np.array([kind in kinds for kinds in side]) for side in (true_N, given_N))
        selection.append([float(gets_N[mask].mean()) for mask in groups.values()])
        having = [mask & has_N for mask in groups.values()]
        if all(map(np.any, having)):
            recall.append([float(gets_N[mask].mean()) for mask in having])
    return {
        "rates": {group: {"rows": int(mask.sum()), "score": round(scores[group], 6)} for group, mask in groups.items()},
        "score_gap": _gap([list(scores.values())]),
        "selection_gap": _gap(selection),
        "recall_gap": _gap(recall),
    }


def _gap(rates: Sequence[Sequence[float]]) -> float:
    return round(max((max(of_groups) - min(of_groups) for of_groups in rates), default=0.0), 6)
