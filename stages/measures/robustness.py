"""The robustness of answers to changes of a text that do not matter: CheckList's invariance tests.

Source: Ribeiro et al. 2020, "Beyond Accuracy", arXiv:2005.04118.
"""

from __future__ import annotations

import random  # what it draws must be the same every time: no secrets here
import re
import string
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.contracts import Text, as_one, each
from stages.core.params.evaluate import EvaluateParams
from stages.measures.image_changes import CHANGES, has_image, with_image
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
    """`robustness`: the effect of each way to change a text (of a pair, both), and of rows with images an image.

    It has the rows that were changed, the share of them whose answer flipped (`flip_rate`), and the mean of their
    scores afterwards. Rates are None where no row was changed; the score also where answers name places in the text,
    which a change moves, and where rows are ranked among each other. Of answers that are more or less alike there is
    `similarity`, the mean over these rows. Where an answer is of the text itself, such as how likely it is, a changed
    text has another: then there is no flip, and the score is of the changed texts.
    """
    chosen = random.Random(judged.seed).sample(range(len(judged.texts)), min(len(judged.texts), params.perturbed_rows))
    ways = {name: partial(_changed, change=change, seed=judged.seed) for name, change in PERTURBATIONS.items()}
    if chosen and all(has_image(judged.texts[i]) for i in chosen):
        ways |= {name: partial(with_image, change=change) for name, change in CHANGES.items()}
    return {"robustness": {name: _flips(judged, model, sorted(chosen), change) for name, change in ways.items()}}


def _flips(
    judged: Judged, model: Opened, chosen: list[int], change: Callable[[Text], Text]
) -> dict[str, float | int | None]:
    changed = [(i, change(judged.texts[i])) for i in chosen]
    changed = [(i, text) for i, text in changed if text != judged.texts[i]]
    task = model.of_measures
    if task.alike is not None or task.own_truth is not None:  # nothing is written for nothing
        changed = [(i, text) for i, text in changed if as_one(text).strip()]
    if not changed:
        return {"rows": 0, "flip_rate": None, "score": None}
    asked = model.ask([text for _, text in changed])
    before, after = [judged.answers[i] for i, _ in changed], asked.answers
    score = None
    has_places = asked.outputs.offsets is not None and asked.outputs.written is None and task.own_truth is None
    if not has_places and not task.ranked(judged.truths):
        score = round(float(_scores(judged, model, changed, after).mean()), 6)
    return {"rows": len(changed), **compared(model, before, after), "score": score}


def _scores(judged: Judged, model: Opened, changed: Sequence[tuple[int, Text]], answers: Sequence[str]) -> np.ndarray:
    """The scores of the rows that were changed; where a task scales them by the truths, on the scale of all rows."""
    task = model.of_measures
    rows = range(len(judged.truths)) if task.scaled else [row for row, _ in changed]
    truths, after = [judged.truths[row] for row in rows], [judged.answers[row] for row in rows]
    place = {row: at for at, row in enumerate(rows)}
    for (row, text), answer in zip(changed, answers, strict=True):
        after[place[row]] = answer
        if task.own_truth is not None:
            truths[place[row]] = task.own_truth(model.runner.clean(as_one(text)))  # what the model is asked
    return task.scores(truths, after)[[place[row] for row, _ in changed]]


def compared(model: Opened, before: Sequence[str], after: Sequence[str]) -> dict[str, float | None]:
    """The share of answers that flipped, and how alike they are in the mean where the task says so.

    The share is None where an answer is of the text itself, and texts differ.
    """
    task = model.of_measures
    if task.own_truth is not None:
        return {"flip_rate": None}
    flipped = [model.differ(one, other) for one, other in zip(before, after, strict=True)]
    found: dict[str, float | None] = {"flip_rate": round(float(np.mean(flipped)), 6)}
    if task.alike is not None:
        alike = [task.alike(one, other) for one, other in zip(before, after, strict=True)]
        found["similarity"] = round(float(np.mean(alike)), 6)
    return found


def _changed(text: Text, change: Callable[[str, random.Random], str], seed: int) -> Text:
    draw = random.Random(f"{seed}:{text}")
    return each(lambda part: change(part, draw), text)
