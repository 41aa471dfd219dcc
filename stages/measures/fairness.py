"""The equal treatment of people: by groups of rows, by swapping the words for them, and by sentences with a slot."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stages.core.contracts import Text, as_one, each
from stages.core.identity import WordLists, lists_of, sides_of, swapper
from stages.core.params.evaluate import EvaluateParams
from stages.core.params.identity import IDENTITY_WORDS
from stages.measures.counted import codes
from stages.measures.group_gaps import group_rates
from stages.measures.robustness import compared
from stages.measures.score import wilson
from stages.measures.slices import values_of
from stages.measures.templates import filled_rates
from stages.tasks.contract import Judged

if TYPE_CHECKING:
    from stages.measures.opened import Opened


def measure(judged: Judged, model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """`fairness`: `identity_swaps`; `groups` by `evaluate.group_column`; `templates`, where there are any."""
    found: dict[str, Any] = {
        "identity_swaps": swap_rates(
            judged, model, params.identity_swaps, params.perturbed_rows, confidence=params.confidence
        )
    }
    if params.group_column is not None:
        column, words = params.group_column, params.identity_swaps
        by_words = column == IDENTITY_WORDS
        values = sides_of(judged.texts, words) if by_words else values_of(judged, column).tolist()
        found["groups"] = group_rates(judged, model, values, params)
    if params.templates:
        found["templates"] = filled_rates(judged, model, params)
    return {"fairness": found}


def swap_rates(judged: Judged, model: Opened, swaps: WordLists, most: int, *, confidence: float) -> dict[str, Any]:
    """The change of answers when each identity word is swapped, for a number of `rows` with one, at most `most` a list.

    `flip_rate` is the share of answers that change, with its interval, `mean_change` the change of the confidence in
    the answer given first. Rates are None where no row holds such a word, and `mean_change` where the task has no
    confidence, or its answers name places in the text, which a swap moves. Of answers that are texts, the words may be
    swapped in these too, and `similarity` is how alike they are in the mean. Where an answer is of the text itself,
    such as how likely it is, nothing flips, and `mean_change` is that of the score. Of several lists each is swapped by
    itself, and `lists` has the figures of each.
    """
    parts = {name: _of_list(judged, model, one.sets, most) for name, one in lists_of(swaps).items()}
    found = _figures(judged, model, _joined([*parts.values()]), confidence)
    if len(parts) > 1:
        found["lists"] = {name: _figures(judged, model, part, confidence) for name, part in parts.items()}
    return found


class _Swapped(NamedTuple):
    """Rows with words swapped, and the answers before and after."""

    rows: list[int]
    texts: list[Text]
    before: list[str]
    after: list[str]
    sure: list[float]
    """The confidence in the answer before, of the swapped texts; none where there is no such thing."""


def _joined(parts: Sequence[_Swapped]) -> _Swapped:
    """Those of several lists, one list's behind the other's."""
    return _Swapped(
        [row for part in parts for row in part.rows], [text for part in parts for text in part.texts],
        [answer for part in parts for answer in part.before], [answer for part in parts for answer in part.after],
        [sure for part in parts for sure in part.sure],
    )  # fmt: skip


def _of_list(judged: Judged, model: Opened, sets: Sequence[Sequence[str]], most: int) -> _Swapped:
    swap = swapper(sets)
    swapped = [(i, other) for i, text in enumerate(judged.texts) if (other := each(swap, text)) != text]
    if len(swapped) > most:
        swapped = sorted(random.Random(judged.seed).sample(swapped, most))
    if not swapped:
        return _Swapped([], [], [], [], [])
    rows, texts = [i for i, _ in swapped], [text for _, text in swapped]
    before, asked = [judged.answers[i] for i in rows], model.ask(texts)
    after = list(asked.answers)
    if model.of_measures.alike is not None:
        # Forwards: of three words a swap is no way back.
        after = [one if swap(one) == other else other for one, other in zip(before, after, strict=True)]
    sure_R = None if judged.outputs.offsets is not None else model.confidence(asked.outputs, before)
    return _Swapped(rows, texts, before, after, [] if sure_R is None else sure_R.tolist())


def _figures(judged: Judged, model: Opened, found: _Swapped, confidence: float) -> dict[str, Any]:
    if not found.rows:
        return {"rows": 0, "flip_rate": None, "mean_change": None}
    task, change = model.of_measures, None
    if task.own_truth is not None:
        asked = [model.runner.clean(as_one(text)) for text in found.texts]
        scores_R = task.scores([task.own_truth(text) for text in asked], found.after)
        change = round(float(np.abs(scores_R - judged.scores_N[found.rows]).mean()), 6)
    elif judged.confidence_N is not None and found.sure:
        sure_R = np.array(found.sure, dtype=judged.confidence_N.dtype)
        change = round(float(np.abs(sure_R - judged.confidence_N[found.rows]).mean()), 4)
    return {
        "rows": len(found.rows), **compared(model, found.before, found.after),
        **_ends(judged, model, found, confidence), "mean_change": change,
    }  # fmt: skip


def _ends(judged: Judged, model: Opened, found: _Swapped, confidence: float) -> dict[str, float]:
    """The interval of the flip rate, where there is one."""
    if model.of_measures.own_truth is not None:
        return {}
    pairs = zip(found.before, found.after, strict=True)
    flipped_R = np.array([model.differ(one, other) for one, other in pairs], dtype=np.float64)
    ends = wilson(flipped_R, codes(np.asarray(judged.units)[found.rows]), confidence)
    return {"low": round(ends.low, 6), "high": round(ends.high, 6)}
