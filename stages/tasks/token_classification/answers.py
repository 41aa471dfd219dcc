"""The answers of an entity tagger: the spans of the best tags. N rows, T tokens of a row, K tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.shared.carrying import carried
from stages.tasks.shared.probabilities import SMALLEST, kl_divergence, log_probabilities, softmax
from stages.tasks.shared.spans import Span, as_text, from_text, of_tags, tags_of
from stages.tasks.shared.tagging import decoded
from stages.tasks.token_classification.scores import score as score_of_spans

Token = tuple[int, int]


def answers(outputs: Outputs, space: Space) -> list[str]:
    """The spans of each row, as canonical texts."""
    return [as_text(_spans(values_TK, tokens, space)) for values_TK, tokens in _rows(outputs)]


def _spans(values_TK: np.ndarray, tokens: Sequence[Token], space: Space) -> tuple[Span, ...]:
    """The spans of the best tags of a row's probabilities."""
    if not tokens:
        return ()
    best = decoded(np.log(np.maximum(values_TK, SMALLEST)))
    return of_tags([space["tags"][number] for number in best], tokens)


def _rows(outputs: Outputs) -> Iterator[tuple[np.ndarray, list[Token]]]:
    """Of each row the outputs (T, K), and where its tokens stand; without special tokens."""
    assert outputs.offsets is not None
    assert outputs.characters is not None
    seen = outputs.characters[:, 0] < outputs.characters[:, 1]
    for start, end in zip(outputs.offsets[:-1], outputs.offsets[1:], strict=True):
        own = seen[start:end]
        yield outputs.values[start:end][own], list(map(tuple, outputs.characters[start:end][own].tolist()))


def confidence(outputs: Outputs, answers: Sequence[str], space: Space) -> np.ndarray:
    """(N,): of each answer the least probability that a token has the tag that it gives it; 1 without any token.

    An answer is right where all of its tags are: it is no surer than its weakest one.
    """
    return np.array([of_tags.min(initial=1.0) for of_tags in _of_tags(answers, outputs, space)])


def losses(truths: Sequence[str], outputs: Outputs, space: Space) -> np.ndarray:
    """(N,): minus the logarithm of the probability of the true tags, the mean over the row's tokens, in nats.

    0 without any token. Raises ValueError for a type that is not of the space.
    """
    rows = [-np.log(np.maximum(of_tags, SMALLEST)) for of_tags in _of_tags(truths, outputs, space)]
    return np.array([row.mean() if len(row) else 0.0 for row in rows])


def _of_tags(targets: Sequence[str], outputs: Outputs, space: Space) -> Iterator[np.ndarray]:
    """For each row (T,) float64: the probability of the tag that each of its tokens has by `targets`."""
    number = {tag: place for place, tag in enumerate(space["tags"])}
    for target, (values_TK, tokens) in zip(targets, _rows(outputs), strict=True):
        tags = tags_of(from_text(target), tokens)
        if unknown := sorted({*tags} - number.keys()):
            raise ValueError(
                f"a row has a span of the type '{unknown[0][2:]}', which no training row has. Add rows of it."
            )
        values = values_TK.astype(np.float64)
        values /= values.sum(1, keepdims=True)  # float32 sums to 1 but for rounding
        yield values[np.arange(len(tags)), [number[tag] for tag in tags]]


def score(truths: Sequence[str], answers: Sequence[str], _space: Space) -> dict[str, float]:
    """Entity F1, and the other measures, each in [0, 1]."""
    return score_of_spans(*([from_text(text) for text in texts] for texts in (truths, answers)))


def divergence(exact: Outputs, other: Outputs) -> float:
    """KL(exact || other), the mean over the tokens, in nats; 0 without any."""
    return kl_divergence(exact.values, other.values) if len(exact.values) else 0.0


def record(outputs: Outputs, row: int, text: str, space: Space) -> dict[str, Any]:
    """The spans: where each stands in `text`, its type, its text, and the least probability of its tokens' tags."""
    ((values_TK, tokens),) = _rows(outputs.of_rows([row]))
    found = []
    for span in _spans(values_TK, tokens, space):
        inside = [at for at, (start, end) in enumerate(tokens) if start < span.end and span.start < end]
        tags = tags_of([span], [tokens[at] for at in inside])
        sure = min(float(values_TK[at, space["tags"].index(tag)]) for at, tag in zip(inside, tags, strict=True))
        found.append({**span._asdict(), "text": text[span.start : span.end], "probability": sure})
    return {"spans": found}


def placed(record: dict[str, Any], clean: str, asked: str) -> dict[str, Any]:
    """The record with its spans in the text as it was asked; one that cleaning made unrecognisable has no place."""
    if clean == asked:
        return record
    spans = [Span(one["start"], one["end"], one["type"]) for one in record["spans"]]
    if (found := carried(spans, clean, asked)) is not None:
        places: list[Span | None] = list(found)
    else:
        places = [one[0] if (one := carried([span], clean, asked)) else None for span in spans]
    moved = [
        {**one, "start": None, "end": None} if place is None
        else {**one, "start": place.start, "end": place.end, "text": asked[place.start : place.end]}
        for one, place in zip(record["spans"], places, strict=True)
    ]  # fmt: skip
    return {"spans": moved}


def shown(record: Mapping[str, Any]) -> str:
    """The spans as `person: Ada Lovelace (0.9812)`, with semicolons between; `-` where there is none."""
    if record["spans"] is None:
        return "null"
    return "; ".join(map(_shown, record["spans"])) or "-"


def _shown(span: Mapping[str, Any]) -> str:
    return f"{span['type']}: {' '.join(span['text'].split())} ({span['probability']:.4f})"


ANSWERS = TaskAnswers(
    activate=softmax, logits=log_probabilities, size=lambda space: len(space["tags"]), answers=answers,
    confidence=confidence, losses=losses, score=score, divergence=divergence, record=record, placed=placed, shown=shown,
    nothing={"spans": None},
)  # fmt: skip
