"""Sentences with a slot, filled with the words for one person and for another: the answers must be the same.

Sources: Kiritchenko and Mohammad 2018, the Equity Evaluation Corpus, arXiv:1805.04508; Dixon et al. 2018,
doi:10.1145/3278721.3278729.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.identity import lists_of
from stages.core.params.evaluate import SLOT, EvaluateParams
from stages.measures.counted import codes
from stages.measures.score import wilson
from stages.tasks.contract import Judged

if TYPE_CHECKING:
    from stages.measures.opened import Opened

DIGITS = 6


def filled_rates(judged: Judged, model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """Of each sentence with each set of words: whether the answers differ, and how far apart they are.

    `flip_rate` is the share of these whose words do not all get the same answer, with its interval, in which the
    sentences are drawn, as a sentence with several sets is one. `spread` is the mean, and `widest` the largest, of how
    far apart the words are in the confidence of the answer that the first word gets, with the sentence. By side there
    are the commonest answer and its share. Raises ValueError for a task whose texts are pairs, or are themselves what
    is learned.
    """
    task = model.of_measures
    if (judged.texts and not isinstance(judged.texts[0], str)) or task.own_truth is not None:
        raise ValueError(
            "params.yaml: evaluate.templates has sentences. Allowed for a task whose texts are pairs, or what is"
            " written: []."
        )
    asked, sides = [], []
    for at, sentence in enumerate(params.templates):
        sets = [(one.sides, words) for one in lists_of(params.template_words).values() for words in one.sets]
        for number, (of_sides, words) in enumerate(sets):
            for side, word in zip(of_sides, words, strict=False):
                asked.append((at, number, _filled(sentence, word)))
                sides.append(side)
    answers = model.ask([text for _, _, text in asked])
    gists = [task.gist(answer) for answer in answers.answers]
    starts = [i for i, (at, number, _) in enumerate(asked) if not i or (at, number) != asked[i - 1][:2]]
    spans = list(zip(starts, [*starts[1:], len(asked)], strict=True))
    flipped = np.array([model.differ(*answers.answers[begin:end]) for begin, end in spans], dtype=np.float64)
    ends = wilson(flipped, codes(np.array([asked[begin][0] for begin, _ in spans])), params.confidence)
    first = [answers.answers[begin] for begin, end in spans for _ in range(begin, end)]
    sure_N = model.confidence(answers.outputs, first) if answers.outputs.offsets is None else None
    return {
        "rows": len(spans),
        "texts": len(asked),
        "flip_rate": round(ends.estimate, DIGITS),
        "low": round(ends.low, DIGITS),
        "high": round(ends.high, DIGITS),
        **_spread(sure_N, spans, [text for _, _, text in asked]),
        "sides": _by_side(sides, gists),
    }


def _filled(sentence: str, word: str) -> str:
    """The sentence with the word in its slots; at its beginning with a capital."""
    found = sentence.replace(SLOT, word)
    return found[:1].upper() + found[1:] if sentence.startswith(SLOT) else found


def _spread(sure_N: np.ndarray | None, spans: list[tuple[int, int]], texts: list[str]) -> dict[str, Any]:
    if sure_N is None:
        return {"spread": None}
    apart = [float(np.ptp(sure_N[begin:end])) for begin, end in spans]
    most = apart.index(max(apart))
    return {
        "spread": round(float(np.mean(apart)), DIGITS),
        "widest": {"texts": texts[slice(*spans[most])], "spread": round(apart[most], DIGITS)},
    }


def _by_side(sides: list[str], gists: list[str]) -> dict[str, Any]:
    found = {}
    for side in dict.fromkeys(sides):
        own = [gist for of, gist in zip(sides, gists, strict=True) if of == side]
        commonest = max(sorted(set(own)), key=own.count)
        found[side] = {"texts": len(own), "commonest": commonest, "share": round(own.count(commonest) / len(own), 6)}
    return found
