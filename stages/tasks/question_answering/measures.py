"""The measures of a question answerer, and the figures of questions with an answer and without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Figure, Judged, Measure, Table, TaskMeasures
from stages.tasks.question_answering import scores as of_answers
from stages.tasks.shared.answer_words import of_row, words_of
from stages.tasks.shared.quotes import from_text, kinds

DIGITS = 6
LISTED = 20  # first words of questions
OTHERS = "(others)"


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """The F1 of each row's answer, (N,)."""
    return np.array([of_row(*row)[0] for row in zip(truths, answers, strict=True)], dtype=np.float64)


def gist(answer: str) -> str:
    """The words of the answer that count."""
    quotes = from_text(answer)
    return " ".join(words_of(quotes[0].text)) if quotes else ""


def marks(answer: str) -> list[tuple[int, int, str]]:
    """The places of the answer, or of all that are accepted."""
    return [(quote.start, quote.end, "answer") for quote in from_text(answer)]


def report(judged: Judged) -> dict[str, Any]:
    """The measures of the questions that have an answer, the share of the others that are given none; the log loss.

    Shares are in [0, 1]; the log loss is in nats a question. Where there are no questions of a kind, it has no figures.
    """
    has_answer_N = np.array([bool(from_text(truth)) for truth in judged.truths])
    sums = np.asarray(of_answers.counts(judged.truths, judged.answers).sum(0)).reshape(1, -1)
    found = {name: round(float(value[0]), DIGITS) for name, value in of_answers.parts(sums).items()}
    there = {"answerable": int(has_answer_N.sum()), "unanswerable": int((~has_answer_N).sum())}
    return {
        **{name: value for name, value in found.items() if there[name.partition("_")[0]]},
        **there,
        "log_loss": round(float(judged.losses_N.mean()), 4),
    }


def tables(judged: Judged) -> Mapping[str, Table]:
    """`questions`: the measures by the question's first word, the commonest ones first."""
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for text, truth, answer in zip(judged.texts, judged.truths, judged.answers, strict=True):
        rows[_first_word(text[1])].append(of_row(truth, answer))
    ordered = sorted(rows, key=lambda word: (-len(rows[word]), word))
    shown = {word: rows[word] for word in ordered[:LISTED]}
    if rest := [found for word in ordered[LISTED:] for found in rows[word]]:
        shown[OTHERS] = rest
    lines = [
        [word, len(found), *(round(float(one), DIGITS) for one in np.mean(found, axis=0))]
        for word, found in shown.items()
    ]
    return {"questions": Table(("first_word", "rows", *of_answers.MEASURED), lines)}


def _first_word(question: str) -> str:
    return "".join(filter(str.isalnum, next(iter(question.lower().split()), ""))) or "-"


MEASURES = TaskMeasures(
    measures=(
        Measure("token_f1", "token F1", of_answers.token_f1),
        Measure("exact_match", "exact match", of_answers.exact_match),
    ),
    counts=of_answers.counts,
    scores=scores,
    kinds=kinds,
    kind="answer",
    gist=gist,
    marks=marks,
    report=report,
    figures=(
        Figure("answerable_f1", "token F1 where there is an answer", "share", better="higher"),
        Figure("unanswerable_accuracy", "rightly no answer", "share", better="higher"),
        Figure("log_loss", "log loss", "nats", column="log_loss"),
        Figure("ece", "calibration error", "share"),
    ),
    per_row=lambda judged: {"log_loss": judged.losses_N},
    tables=tables,
)
