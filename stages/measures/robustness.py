"""The robustness of answers to changes of a text that do not matter: CheckList's invariance tests.

Source: Ribeiro et al. 2020, "Beyond Accuracy", arXiv:2005.04118.
"""

from __future__ import annotations

import random  # what it draws must be the same every time: no secrets here
import re
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from stages.core.contracts import Answers, Text, each
from stages.core.params.evaluate import EvaluateParams

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


def measure(answers: Answers, params: EvaluateParams) -> dict[str, Any]:
    """`robustness`: the effect of each way to change a text (of a pair, both).

    It has the rows that were changed, the share of them whose answer flipped (`flip_rate`), and the accuracy on them
    afterwards. Rates are None where no row was changed.
    """
    chosen = random.Random(answers.seed).sample(
        range(len(answers.texts)), min(len(answers.texts), params.perturbed_rows)
    )
    return {"robustness": {name: _flips(answers, sorted(chosen), change) for name, change in PERTURBATIONS.items()}}


def _flips(
    answers: Answers, chosen: list[int], change: Callable[[str, random.Random], str]
) -> dict[str, float | int | None]:
    changed = [(i, _changed(answers.texts[i], change, answers.seed)) for i in chosen]
    changed = [(i, text) for i, text in changed if text != answers.texts[i]]
    if not changed:
        return {"rows": 0, "flip_rate": None, "accuracy": None}
    rows = np.array([i for i, _ in changed])
    after = answers.runner.predict([text for _, text in changed]).argmax(1)
    return {
        "rows": len(rows),
        "flip_rate": round(float((after != answers.predicted_N[rows]).mean()), 6),
        "accuracy": round(float((after == answers.truth_N[rows]).mean()), 6),
    }


def _changed(text: Text, change: Callable[[str, random.Random], str], seed: int) -> Text:
    draw = random.Random(f"{seed}:{text}")
    return each(lambda part: change(part, draw), text)
