"""The answers of a question answerer: the likeliest passage of the text, or that it holds no answer.

The score of a passage is the sum of the logits of its first token as a beginning, and of its last one as an end, both
less those of no answer: the odds of this passage against none. All passages up to the longest answer of the training
rows share the probability, with none where there are such rows. N rows, T tokens of a row, D tokens of a passage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.question_answering.scores import relative
from stages.tasks.question_answering.scores import score as score_of_answers
from stages.tasks.shared import quotes
from stages.tasks.shared.passages import Row, fitted, given, rows_of
from stages.tasks.shared.places import Passage
from stages.tasks.shared.probabilities import SMALLEST, kl_divergence, softmax
from stages.tasks.shared.quotes import Quote


def answers(outputs: Outputs, space: Space) -> list[str]:
    """The answer to each row, as canonical text."""
    return [quotes.as_text([row.quote(given)] if given else []) for row, given in _answered(outputs, space)]


def _answered(outputs: Outputs, space: Space) -> Iterator[tuple[Row, Passage | None]]:
    return ((row, given(row, space)) for row in rows_of(outputs, space))


def confidence(outputs: Outputs, answers: Sequence[str], space: Space) -> np.ndarray:
    """(N,): the F1 that is to be expected of each answer, with tokens for words; of none, the probability of none.

    It is the mean over all passages, each as likely as the model says, of their F1 with the answer.
    """
    rows = zip(rows_of(outputs, space), map(quotes.from_text, answers), strict=True)
    return np.array([_expected(row, given, space) for row, given in rows])


def _expected(row: Row, given: Sequence[Quote], space: Space) -> float:
    if not given:
        return _of_nothing(row, space)
    passage = row.tokens(given[0])
    if passage is None:
        return 0.0
    first_T1 = np.arange(len(row.scores_TD))[:, None]
    last_TD = first_T1 + np.arange(row.scores_TD.shape[1])
    shared_TD = np.minimum(last_TD, passage.last) - np.maximum(first_T1, passage.first) + 1
    f1_TD = 2 * np.maximum(shared_TD, 0) / (last_TD - first_T1 + passage.last - passage.first + 2)
    return min(float((np.exp(row.scores_TD - row.total) * f1_TD).sum()), 1.0)


def _of_nothing(row: Row, space: Space) -> float:
    """The probability that the text holds no answer: without a token it holds none."""
    return math.exp(-row.total) if space["unanswerable"] else float(row.scores_TD.size == 0)


def losses(truths: Sequence[str], outputs: Outputs, space: Space) -> np.ndarray:
    """(N,): minus the logarithm of the probability of an accepted answer, or of none where none is, in nats.

    Raises ValueError for a row without an answer, where the model has learned of none such.
    """
    rows = zip(rows_of(outputs, space), map(quotes.from_text, truths), strict=True)
    return np.array([_loss(row, truth, space) for row, truth in rows])


def _loss(row: Row, truth: Sequence[Quote], space: Space) -> float:
    if not truth and not space["unanswerable"]:
        raise ValueError("rows have no answer, and every training row has one. Give such questions training rows.")
    accepted = {passage for quote in truth if (passage := row.tokens(quote))}
    right = math.fsum(map(row.probability, accepted)) if truth else _of_nothing(row, space)
    return -math.log(min(max(right, SMALLEST), 1.0)) + 0.0  # no minus before a 0


def score(truths: Sequence[str], answers: Sequence[str], _space: Space) -> dict[str, float]:
    """Token F1 and exact match, each in [0, 1]."""
    return score_of_answers(truths, answers)


def divergence(exact: Outputs, other: Outputs) -> float:
    """KL(exact || other) of where answers begin and of where they end, over a row's tokens and none; the mean, in nats.

    Without offsets, half the mean square of the logits' differences, which it comes near where they are small.
    """
    if exact.offsets is None:
        return float(np.square(exact.values.astype(np.float64) - other.values).mean() / 2) if exact.values.size else 0.0
    found = [
        kl_divergence(*(softmax(_with_nothing(one.values[start:end])) for one in (exact, other)))
        for start, end in zip(exact.offsets[:-1], exact.offsets[1:], strict=True)
    ]
    return float(np.mean(found)) if found else 0.0


def _with_nothing(values_T2: np.ndarray) -> np.ndarray:
    """(2, T + 1): the logits of beginnings and of ends, those of no answer in front."""
    return np.concatenate([np.zeros((2, 1)), values_T2.astype(np.float64).T], axis=1)


def record(outputs: Outputs, row: int, text: str, space: Space) -> dict[str, Any]:
    """The answer: where it stands in `text`, its words, its probability; and how likely it is that there is none."""
    ((found, given),) = _answered(outputs.of_rows([row]), space)
    answers: list[dict[str, Any]] = []
    if given is not None:
        quote = found.quote(given)
        own = {"start": quote.start, "end": quote.end, "text": text[quote.start : quote.end]}
        answers = [{**own, "probability": found.probability(given)}]
    return {"answers": answers, "unanswerable": _of_nothing(found, space)}


def placed(record: dict[str, Any], clean: str, asked: str) -> dict[str, Any]:
    """The record with its answer in the text as it was asked; one that cleaning made unrecognisable has no place."""
    if clean == asked:
        return record
    found = quotes.moved([Quote(one["start"], one["text"]) for one in record["answers"]], clean, asked)
    moved = [
        {**one, "start": None, "end": None} if quote is None
        else {**one, "start": quote.start, "end": quote.end, "text": quote.text}
        for one, quote in zip(record["answers"], found, strict=True)
    ]  # fmt: skip
    return {**record, "answers": moved}


def shown(record: Mapping[str, Any]) -> str:
    """The answer and, behind a tab, its probability; `-` with that of no answer where there is none."""
    if record["answers"] is None:
        return "null\tnull"
    if not record["answers"]:
        return f"-\t{record['unanswerable']:.4f}"
    (answer,) = record["answers"]
    return f"{' '.join(answer['text'].split())}\t{answer['probability']:.4f}"


def columns(outputs: Outputs, space: Space) -> dict[str, np.ndarray]:
    """`p_unanswerable`: how likely each row has no answer, where there are such rows."""
    if not space["unanswerable"]:
        return {}
    return {"p_unanswerable": np.array([_of_nothing(row, space) for row in rows_of(outputs, space)])}


ANSWERS = TaskAnswers(
    activate=lambda values: values, logits=lambda values: values, size=lambda _: 2, answers=answers,
    confidence=confidence, losses=losses, score=score, divergence=divergence, record=record, shown=shown,
    placed=placed, nothing={"answers": None, "unanswerable": None}, columns=columns, window=relative, fitted=fitted,
)  # fmt: skip
