"""The answers of a sentence encoder: how similar the two texts of a pair are; of one text its vector.

N rows, K numbers of a vector. Outputs hold vectors, (N, 2, K) of pairs and (N, K) of single texts; or (N, 1, 2), each
row's similarity and rank, of a model that has no vectors (the baseline).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.sentence_similarity import scores
from stages.tasks.shared.matched_texts import DECIMALS, Found, from_text, is_pair
from stages.tasks.shared.ranking import ranks


def similarities(outputs: Outputs) -> np.ndarray:
    """(N,) float64."""
    values = outputs.values
    return values[:, 0, 0].astype(np.float64) if values.shape[1] == 1 else scores.similarity(values)


def ranks_of(outputs: Outputs) -> np.ndarray:
    """(N,) int64: the rank of each second text among those of all rows; one whose vector is the same is as near."""
    values = outputs.values
    if values.shape[1] == 1:
        return values[:, 0, 1].astype(np.int64)
    assert outputs.numbers is not None
    return ranks(values[:, 0], values[:, 1], *outputs.numbers.T)


def answers(outputs: Outputs, space: Space) -> list[str]:
    """Each similarity; of pairs that belong together the rank besides."""
    similar_N = similarities(outputs).tolist()
    if space["targets"] == "numbers":
        return [Found(similar).as_text() for similar in similar_N]
    rank_N = ranks_of(outputs).tolist() if similar_N else []
    return [Found(similar, rank).as_text() for similar, rank in zip(similar_N, rank_N, strict=True)]


def losses(truths: Sequence[str], outputs: Outputs, space: Space) -> np.ndarray:
    """(N,): the squared error of each cosine; of pairs, how much it falls short of 1.

    Raises ValueError for a number where the training rows had none, and the other way round.
    """
    are_pairs = space["targets"] == "pairs"
    if others := sum(is_pair(truth) != are_pairs for truth in truths):
        kind = "numbers" if are_pairs else "texts"
        raise ValueError(f"{others:,} rows have {kind} as targets, and training rows had none. Take these out.")
    if are_pairs:
        return 1 - similarities(outputs)
    low, high = space["low"], space["high"]
    wanted_N = (np.array([float(truth) for truth in truths]) - low) / (high - low)
    return np.square(similarities(outputs) - wanted_N)


def score(truths: Sequence[str], given: Sequence[str], space: Space) -> dict[str, float]:
    """The measures that the targets have."""
    found = [from_text(answer) for answer in given]
    if space["targets"] == "pairs":
        return scores.score_of_ranks(np.array([one.rank for one in found]))
    return scores.score_of_numbers([float(truth) for truth in truths], [one.similarity for one in found])


def divergence(exact: Outputs, other: Outputs) -> float:
    """1 minus the cosine of each vector with the exact one, the mean over all."""
    return float(np.square(exact.values.astype(np.float64) - other.values).sum(-1).mean() / 2)


def agreement(one: Outputs, other: Outputs) -> float:
    """The share of rows with nearly the same similarity."""
    return float((np.abs(similarities(one) - similarities(other)) <= scores.NEARLY).mean())


def record(outputs: Outputs, row: int, _text: str, _space: Space) -> dict[str, Any]:
    """The similarity of a pair, or the vector of a text."""
    if outputs.values.ndim == 2:
        return {"vector": [round(number, DECIMALS) for number in outputs.values[row].tolist()]}
    return {"similarity": round(float(similarities(outputs.of_rows([row]))[0]), DECIMALS)}


def shown(record: Mapping[str, Any]) -> str:
    """The same, as text."""
    if record.get("vector") is not None:
        return " ".join(f"{number:g}" for number in record["vector"])
    return "null" if record["similarity"] is None else f"{record['similarity']:.4f}"


ANSWERS = TaskAnswers(
    activate=lambda values: values, size=lambda _: 0, answers=answers, confidence=None, losses=losses, score=score,
    divergence=divergence, agreement=agreement, record=record, shown=shown,
    nothing={"similarity": None, "vector": None},
)  # fmt: skip
