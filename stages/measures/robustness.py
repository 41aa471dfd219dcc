"""The robustness of answers to changes of a text that do not matter: CheckList's invariance tests.

Source: Ribeiro et al. 2020, "Beyond Accuracy", arXiv:2005.04118.
"""

from __future__ import annotations

import random  # what it draws must be the same every time: no secrets here
import re
import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.contracts import Text, each
from stages.core.params.evaluate import EvaluateParams
from stages.tasks.contract import Judged

if TYPE_CHECKING:
    from stages.measures.opened import Opened

ZERO_WIDTH_SPACE = "\u200b"
CHARACTERS_A_TYPO = 50


def typos(text: str, draw: random.Random) -> str:
    """The text with two neighbouring letters swapped, once in 50 characters, at least once."""
    letters = list(text)
    places = [i for i in range(len(text) - 1) if text[i : i + 2].isalpha() and text[i] != text[i + 1]]
    for i in draw.sample(places, min(len(places), max(1, len(text) // CHARACTERS_A_TYPO))):
        letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)


def no_punctuation(text: str, _: random.Random) -> str:
    """The text with ASCII punctuation replaced by spaces."""
    return " ".join(text.translate(str.maketrans(string.punctuation, " " * len(string.punctuation))).split())


def zero_width(text: str, _: random.Random) -> str:
    """The text with a zero-width space in the middle of each word of four letters or more."""
    return re.sub(r"\w{4,}", lambda m: m[0][: len(m[0]) // 2] + ZERO_WIDTH_SPACE + m[0][len(m[0]) // 2 :], text)


PERTURBATIONS: dict[str, Callable[[str, random.Random], str]] = {
    "typos": typos,
    "upper_case": lambda text, _: text.upper(),
    "lower_case": lambda text, _: text.lower(),
    "no_punctuation": no_punctuation,
    "zero_width": zero_width,
}


def measure(judged: Judged, model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """`robustness`: the effect of each way to change a text (of a pair, both).

    It has the rows that were changed, the share of them whose answer flipped (`flip_rate`), and the mean of their
    scores afterwards. Rates are None where no row was changed; the score also where answers name places in the text,
    which a change moves, and where rows are ranked among each other.
    """
    chosen = random.Random(judged.seed).sample(range(len(judged.texts)), min(len(judged.texts), params.perturbed_rows))
    return {
        "robustness": {name: _flips(judged, model, sorted(chosen), change) for name, change in PERTURBATIONS.items()}
    }


def _flips(
    judged: Judged, model: Opened, chosen: list[int], change: Callable[[str, random.Random], str]
) -> dict[str, float | int | None]:
    changed = [(i, _changed(judged.texts[i], change, judged.seed)) for i in chosen]
    changed = [(i, text) for i, text in changed if text != judged.texts[i]]
    if not changed:
        return {"rows": 0, "flip_rate": None, "score": None}
    after = model.ask([text for _, text in changed]).answers
    of_measures = model.of_measures
    flipped = [
        of_measures.gist(answer) != of_measures.gist(judged.answers[i])
        for (i, _), answer in zip(changed, after, strict=True)
    ]
    score = None
    if judged.outputs.offsets is None and of_measures.alone:
        score = round(float(of_measures.scores([judged.truths[i] for i, _ in changed], after).mean()), 6)
    return {
        "rows": len(changed),
        "flip_rate": round(float(np.mean(flipped)), 6),
        "score": score,
    }


def _changed(text: Text, change: Callable[[str, random.Random], str], seed: int) -> Text:
    draw = random.Random(f"{seed}:{text}")
    return each(lambda part: change(part, draw), text)
