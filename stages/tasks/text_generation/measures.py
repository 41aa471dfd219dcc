"""The measures of a model that writes on, from what each row adds: how likely it finds texts that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from stages.tasks.contract import Figure, Judged, Measure, TaskMeasures
from stages.tasks.shared.likelihood import tokens
from stages.tasks.text_generation import scores as of_texts


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds."""
    return csr_array(of_texts.counts(truths, answers))


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N,) in [0, 1]: the geometric mean of the probabilities of a text's bytes."""
    nats_N, bytes_N, _ = of_texts.counts(truths, answers).T
    return np.minimum(np.exp(-nats_N / np.maximum(bytes_N, 1)), 1.0)


def report(judged: Judged) -> dict[str, Any]:
    """The perplexity of a token, which holds for this tokenizer alone, and how many bytes a token stands for."""
    count = max(1, int(tokens(judged.outputs).sum()))
    bytes_ = float(of_texts.sizes(judged.truths)[:, 0].sum())
    nats = float(np.sum(judged.losses_N))
    return {"perplexity": round(float(np.exp(nats / count)), 6), "bytes_per_token": round(bytes_ / count, 6)}


MEASURES = TaskMeasures(
    measures=(
        Measure("bits_per_byte", "bits per byte", of_texts.bits_per_byte, unit="", better="lower", most=math.inf),
        Measure(
            "word_perplexity",
            "perplexity of a word",
            of_texts.word_perplexity,
            unit="",
            better="lower",
            least=1.0,
            most=math.inf,
            applies=of_texts.has_words,
        ),
    ),
    counts=counts,
    scores=scores,
    kinds=lambda _: ("text",),
    kind="text",
    own_truth=of_texts.size,
    report=report,
    figures=(Figure("perplexity", "perplexity of a token"),),
    per_row=lambda judged: {"nats": judged.losses_N},
)
