"""The measures of written texts, from what each row adds; and what is counted of the texts beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from stages.core.contracts import as_one
from stages.tasks.contract import Figure, Judged, Measure, TaskMeasures
from stages.tasks.shared import overlap, rouge
from stages.tasks.shared.likelihood import tokens
from stages.tasks.shared.written import BITS, canonical, copied, repetition
from stages.tasks.text2text_generation import scores as of_texts

DIGITS = 6


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds."""
    return csr_array(of_texts.counts(truths, answers))


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N,): chrF of each row by itself."""
    return np.array([overlap.of_one(truth, answer) for truth, answer in zip(truths, answers, strict=True)])


def report(judged: Judged) -> dict[str, Any]:
    """What the texts are like, and how likely the model finds the targets, where it says.

    `length_ratio` is of characters, `repetition` and `copied` the means of the rows' own, `copies` the share of rows
    whose answer is the source, `empty` of those without one.
    """
    sources = [canonical(as_one(text)) for text in judged.texts]
    sums = of_texts.counts(judged.truths, judged.answers).sum(0).reshape(1, -1)
    shares = {name: values_N.mean() for name, values_N in per_row(judged).items() if name in ("repetition", "copied")}
    shares["copies"] = np.mean([source == answer for source, answer in zip(sources, judged.answers, strict=True)])
    shares["empty"] = np.mean([not answer for answer in judged.answers])
    found = {"length_ratio": of_texts.length_ratio(sums)[0], **shares, **_likelihood(judged)}
    return {**{name: round(float(value), DIGITS) for name, value in found.items()}, "signatures": overlap.signatures()}


def _likelihood(judged: Judged) -> dict[str, float]:
    """Bits a byte of the targets, and the perplexity of their tokens; nothing where a model gives no probabilities."""
    if judged.told is None or np.isnan(judged.losses_N).any():
        return {}
    nats, bytes_ = judged.losses_N.sum(), sum(len(truth.encode("utf-8")) for truth in judged.truths)
    return {"bits_per_byte": nats / BITS / max(1, bytes_), "perplexity": np.exp(nats / tokens(judged.told).sum())}


def per_row(judged: Judged) -> Mapping[str, np.ndarray]:
    """The nats of each row's target, the repetition of its answer, and the share of its words that are the source's."""
    sources = [as_one(text) for text in judged.texts]
    return {
        "nats": judged.losses_N,
        "repetition": np.array([repetition(answer) for answer in judged.answers]),
        "copied": np.array([copied(*both) for both in zip(sources, judged.answers, strict=True)]),
    }


def has_words(truths: Sequence[str]) -> bool:
    """Whether ROUGE sees a word in one target of two: it knows a to z and digits."""
    return 2 * sum(bool(rouge.words(truth)) for truth in truths) >= len(truths)


MEASURES = TaskMeasures(
    measures=(
        Measure("chrf", "chrF", of_texts.chrf),
        Measure("bleu", "BLEU", of_texts.bleu),
        Measure("rouge1", "ROUGE-1", of_texts.rouge1, applies=has_words),
        Measure("rouge2", "ROUGE-2", of_texts.rouge2, applies=has_words),
        Measure("rouge_l", "ROUGE-L", of_texts.rouge_l, applies=has_words),
        Measure("exact_match", "exact match", of_texts.exact_match),
    ),
    counts=counts,
    scores=scores,
    kinds=lambda _: ("text",),
    kind="text",
    alike=overlap.of_one,
    report=report,
    figures=(
        Figure("bits_per_byte", "bits per byte"),
        Figure("repetition", "repetition", "share", column="repetition"),
    ),
    per_row=per_row,
)
