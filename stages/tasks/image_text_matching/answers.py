"""The answers of two towers: how similar an image and a text are, and of one of them its vector.

N rows, K numbers of a vector. Outputs hold vectors, (N, 2, K) of pairs and (N, K) of single texts or images; or
(N, 1, 3), each row's similarity and its two ranks, of a model that has no vectors (the baseline).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.image_text_matching import scores
from stages.tasks.image_text_matching.scores import Found
from stages.tasks.shared.ranking import ranks_both_ways

DECIMALS = 6


def similarities(outputs: Outputs) -> np.ndarray:
    """(N,) float64."""
    values = outputs.values
    return values[:, 0, 0].astype(np.float64) if values.shape[1] == 1 else scores.similarity(values)


def ranks(outputs: Outputs) -> np.ndarray:
    """(N, 2) int64: the ranks of each row's text and image among those of all rows."""
    values = outputs.values
    if values.shape[1] == 1:
        return values[:, 0, 1:].astype(np.int64)
    assert outputs.numbers is not None
    return ranks_both_ways(values, outputs.numbers)


def answers(outputs: Outputs, _space: Space) -> list[str]:
    """Each similarity with its ranks."""
    if len(outputs.values) == 0:
        return []
    found = zip(similarities(outputs).tolist(), ranks(outputs).tolist(), strict=True)
    return [Found(similar, *of_row).as_text() for similar, of_row in found]


def divergence(exact: Outputs, other: Outputs) -> float:
    """1 minus the cosine of each vector with the exact one, the mean over all."""
    both = np.stack([side.values.reshape(-1, side.values.shape[-1]) for side in (exact, other)], axis=1)
    return float(1 - scores.similarity(both).mean())


def agreement(one: Outputs, other: Outputs) -> float:
    """The share of rows with nearly the same similarity."""
    return float((np.abs(similarities(one) - similarities(other)) <= scores.NEARLY).mean())


def record(outputs: Outputs, row: int, _text: str, _space: Space) -> dict[str, Any]:
    """The similarity of an image and a text, or the vector of one of them, of length 1."""
    values = outputs.values[row]
    if outputs.values.ndim == 2:
        length = float(np.linalg.norm(values)) or 1.0
        return {"vector": [round(number, DECIMALS) for number in (values / length).tolist()]}
    return {"similarity": round(float(similarities(outputs.of_rows([row]))[0]), DECIMALS)}


def shown(record: Mapping[str, Any]) -> str:
    """The same, as text."""
    if record.get("vector") is not None:
        return " ".join(f"{number:g}" for number in record["vector"])
    return "null" if record["similarity"] is None else f"{record['similarity']:.4f}"


def likeliest(rows: Outputs, prompts: Outputs, several: int) -> np.ndarray | None:
    """(N,): the class whose prompts have the mean vector that is nearest to each row's image; None without vectors.

    Both are outputs of pairs: of the rows the images count, of the prompts the texts.
    """
    if rows.values.shape[1] == 1:
        return None
    images_NK, prompts_PK = _directions(rows.values[:, 0]), _directions(prompts.values[:, 1])
    classes_CK = prompts_PK.reshape(-1, several, prompts_PK.shape[-1]).mean(1)
    nearest_N: np.ndarray = (images_NK @ _directions(classes_CK).T).argmax(1)
    return nearest_N


def _directions(vectors_NK: np.ndarray) -> np.ndarray:
    exact_NK = vectors_NK.astype(np.float64)
    lengths_N1: np.ndarray = np.linalg.norm(exact_NK, axis=-1, keepdims=True)
    return exact_NK / np.maximum(lengths_N1, np.finfo(np.float64).tiny)


ANSWERS = TaskAnswers(
    activate=lambda values: values,
    size=lambda _: 0,
    answers=answers,
    confidence=None,
    losses=lambda _truths, outputs, _space: 1 - similarities(outputs),
    score=lambda _truths, given, _space: scores.scores_of(scores.ranks_of(given)),
    divergence=divergence,
    agreement=agreement,
    record=record,
    shown=shown,
    nothing={"similarity": None, "vector": None},
    likeliest=likeliest,
)
