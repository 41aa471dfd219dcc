"""Answers among classes that are said only when asked, by prompts.

Source: Radford et al. 2021, arXiv:2103.00020, section 3.1.4: of several prompts a class the mean vector.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.contracts import Text
from stages.core.params.evaluate import EvaluateParams
from stages.tasks.contract import Judged

if TYPE_CHECKING:
    from stages.measures.opened import Opened


def measure(judged: Judged, model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """`zero_shot`, where `evaluate.zero_shot` names a column: the share of first texts that are told its class.

    Several rows of one first text, such as an image, are one of `rows`; those without a class are left out. `commonest`
    is the share of the commonest of the `classes`, which needs no model. `accuracy` is None for a model that compares
    no rows with prompts; both are None where no row has a class.
    """
    asked, likeliest = params.zero_shot, model.of_answers.likeliest
    if asked is None or likeliest is None:
        return {}
    column = judged.columns.get(asked.column, [None] * len(judged.texts))
    rows = list({_first(text): row for row, text in enumerate(judged.texts) if column[row] is not None}.values())
    counts = Counter(str(column[row]) for row in rows)
    classes = sorted(counts)
    found: dict[str, Any] = {"column": asked.column, "classes": len(classes), "rows": len(rows)}
    if not rows:
        return {"zero_shot": {**found, "commonest": None, "accuracy": None}}
    prompts = [template.replace("{}", name) for name in classes for template in asked.templates]
    outputs = model.runner.predict([(_first(judged.texts[rows[0]]), prompt) for prompt in prompts])
    nearest_R = likeliest(judged.outputs.of_rows(rows), outputs, len(asked.templates))
    found["commonest"] = round(max(counts.values()) / len(rows), 6)
    if nearest_R is None:
        return {"zero_shot": {**found, "accuracy": None}}
    right = [classes[number] == column[row] for number, row in zip(nearest_R, rows, strict=True)]
    return {"zero_shot": {**found, "accuracy": round(float(np.mean(right)), 6)}}


def _first(text: Text) -> str:
    return text if isinstance(text, str) else text[0]
