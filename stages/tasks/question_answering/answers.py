"""The answers of a question answerer: the likeliest passage of the text, or that it holds no answer.

The score of a passage is the sum of the logits of its first token as a beginning, and of its last one as an end, both
less those of no answer: the odds of this passage against none. All passages up to the longest answer of the training
rows share the probability, with none where there are such rows. N rows, T tokens of a row, D tokens of a passage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.question_answering.scores import of_row, relative
from stages.tasks.question_answering.scores import score as score_of_answers
from stages.tasks.shared import places, quotes
from stages.tasks.shared.places import Passage
from stages.tasks.shared.probabilities import SMALLEST, kl_divergence, softmax
from stages.tasks.shared.quotes import Quote

DIGITS = 4  # of the threshold
ROUNDING = 1e-9  # sums of gains that differ by no more are equal


class Row(NamedTuple):
    """A text, and the score of each of its passages."""

    text: str
    characters_T2: np.ndarray
    scores_TD: np.ndarray
    total: float
    """The logarithm of the sum of all odds, that of no answer among them where there may be none."""

    def quote(self, passage: Passage) -> Quote:
        """What the passage says."""
        start, end = self.characters_T2[passage.first, 0], self.characters_T2[passage.last, 1]
        return quotes.quoted(self.text, int(start), int(end))

    def tokens(self, quote: Quote) -> Passage | None:
        """The passage that a quote is; None where no token has a part of it."""
        return places.within(self.characters_T2, quote.start, quote.end)

    def probability(self, passage: Passage) -> float:
        """That this passage is the answer; 0 for one that is too long."""
        more = passage.last - passage.first
        return math.exp(self.scores_TD[passage.first, more] - self.total) if more < self.scores_TD.shape[1] else 0.0


def _rows(outputs: Outputs, space: Space) -> Iterator[Row]:
    assert outputs.offsets is not None
    assert outputs.characters is not None
    assert outputs.texts is not None
    seen = outputs.characters[:, 0] < outputs.characters[:, 1]
    nothing = [0.0] if space["unanswerable"] else []
    for text, start, end in zip(outputs.texts, outputs.offsets[:-1], outputs.offsets[1:], strict=True):
        own = seen[start:end]
        values_T2, characters_T2 = outputs.values[start:end][own], outputs.characters[start:end][own]
        most_T = places.most_tokens(characters_T2, space["longest"])
        scores_TD = places.scores(values_T2[:, 0], values_T2[:, 1], most_T)
        yield Row(text, characters_T2, scores_TD, places.total(scores_TD, *nothing))


def _given(row: Row, space: Space) -> Passage | None:
    """The answer, if there is one: the likeliest passage, unless its odds against none are below the threshold."""
    found = places.best(row.scores_TD)
    if found is None or (space["unanswerable"] and found[0] < space.get("threshold", 0.0)):
        return None
    return found[1]


def answers(outputs: Outputs, space: Space) -> list[str]:
    """The answer to each row, as canonical text."""
    return [quotes.as_text([row.quote(given)] if given else []) for row, given in _answered(outputs, space)]


def _answered(outputs: Outputs, space: Space) -> Iterator[tuple[Row, Passage | None]]:
    return ((row, _given(row, space)) for row in _rows(outputs, space))


def confidence(outputs: Outputs, answers: Sequence[str], space: Space) -> np.ndarray:
    """(N,): the F1 that is to be expected of each answer, with tokens for words; of none, the probability of none.

    It is the mean over all passages, each as likely as the model says, of their F1 with the answer.
    """
    rows = zip(_rows(outputs, space), map(quotes.from_text, answers), strict=True)
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
    rows = zip(_rows(outputs, space), map(quotes.from_text, truths), strict=True)
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
    return {"p_unanswerable": np.array([_of_nothing(row, space) for row in _rows(outputs, space)])}


def fitted(truths: Sequence[str], outputs: Outputs, space: Space) -> Space:
    """The space with the `threshold` under which the F1 of these rows is best; as it is where all have an answer.

    An answer is given where the logarithm of its odds against none is not below it. Of equally good thresholds it is
    the one nearest to 0, where an answer is as likely as none.
    """
    if not space["unanswerable"]:
        return space
    found_N2 = []
    for truth, row in zip(truths, _rows(outputs, space), strict=True):
        if found := places.best(row.scores_TD):
            answer = quotes.as_text([row.quote(found[1])])
            found_N2.append((found[0], of_row(truth, answer)[0] - of_row(truth, "[]")[0]))
    odds_N, gains_N = np.array(found_N2, dtype=np.float64).reshape(-1, 2).T
    return {**space, "threshold": _best_threshold(odds_N, gains_N)}


def _best_threshold(odds_N: np.ndarray, gains_N: np.ndarray) -> float:
    """The threshold that keeps the rows whose gains, over no answer, sum up to the most."""
    if len(odds_N) == 0:
        return 0.0
    order = np.argsort(-odds_N, kind="stable")
    sorted_N = odds_N[order]
    between_N = (sorted_N[:-1] + sorted_N[1:]) / 2
    cuts = np.concatenate([sorted_N[:1] + 1, between_N, sorted_N[-1:] - 1])  # the k-th keeps the first k rows
    parts_rows = np.concatenate([[True], sorted_N[:-1] > sorted_N[1:], [True]])
    gained = np.concatenate([[0.0], np.cumsum(gains_N[order])])
    is_best = parts_rows & (gained >= gained[parts_rows].max() - ROUNDING)
    if is_best[(odds_N >= 0).sum()]:
        return 0.0
    best = cuts[is_best]
    return round(float(best[np.abs(best).argmin()]), DIGITS)


ANSWERS = TaskAnswers(
    activate=lambda values: values, logits=lambda values: values, size=lambda _: 2, answers=answers,
    confidence=confidence, losses=losses, score=score, divergence=divergence, record=record, shown=shown,
    placed=placed, nothing={"answers": None, "unanswerable": None}, columns=columns, window=relative, fitted=fitted,
)  # fmt: skip
