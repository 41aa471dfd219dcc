"""The rows to label next: those that a model is unsure of, and of these such as differ from each other.

    pool ── the model: how unsure ──> the BEFORE x N least sure ── near duplicates of training rows are left out ──┐
         N proposals <── greedily: unsure, and far from training rows and from those proposed already <────────────┘

Uncertainty alone proposes the same text many times over, distance alone what is odd. N proposals, M rows of the
shortlist, F features.

Source: Zhdanov 2019, arXiv:1901.05954 (a shortlist by uncertainty, then diversity); Sener and Savarese 2018,
arXiv:1708.00489 (greedy k-center, training rows among the centers).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from flows.answering.neighbours import nearest
from flows.labelling.listed import Listed, key_of
from flows.labelling.near import Shingles, shingles
from flows.labelling.parts import labelling_of
from stages.backends.runners import open_runner
from stages.core import plugins
from stages.core.contracts import Outputs, Runner, Space, as_one, each
from stages.core.machine import cores
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers
from stages.tasks.shared.labelling import TaskLabelling
from stages.tasks.shared.words import WORDS_WORK, fitted_vectorizer, words_reach

BEFORE = 10  # rows of the shortlist for each that is proposed
LEAST = 200  # of the shortlist
LOOKED_AT = 3  # training rows next to a row, of which it may be a near duplicate
BATCH = 256
LIKELIEST = 9  # labels that a row is shown with, the likeliest first: as many as there are keys


class Proposal(NamedTuple):
    """A row to label."""

    row: Listed
    probability: float | None
    """How sure the model is of its suggestion; None: it does not say."""
    uncertainty: float | None
    likeliest: Sequence[str]
    """Its likeliest labels, the likeliest first."""


class Proposed(NamedTuple):
    """What is proposed, and why the others are not."""

    rows: list[Proposal]
    duplicates: int
    """Rows looked at that repeat a training row, or one that is proposed, exactly or nearly."""
    labelled: int
    """Rows that were labelled already."""


class Chooser(NamedTuple):
    """What rows are chosen by."""

    runner: Runner
    answers: TaskAnswers
    uncertainty: Callable[[Outputs, Space], np.ndarray] | None
    labelling: TaskLabelling
    clean: Path
    """The clean rows, whose training rows are known already."""
    jaccard: float
    """From which overlap of character 5-grams on texts are near duplicates."""


def chooser(paths: Paths, params: Params, folder: Path, threads: int | None, by: str | None) -> Chooser:
    """By the model in `folder`, on so many threads (None: a core each), and the uncertainty named `by` (None: none).

    Raises ValueError where the model is of another task than the project.
    """
    task = params.task.name
    runner = open_runner(folder, threads=threads or cores())
    if runner.task != task:
        raise ValueError(f"{folder} is of the task '{runner.task}', and the project of '{task}'. Name another --model.")
    labelling = labelling_of(task)
    answers: TaskAnswers = plugins.part(TASKS, task, "answers", key="task.name")
    uncertainty = None if by is None else labelling.uncertainties[by]
    return Chooser(runner, answers, uncertainty, labelling, paths.clean, params.clean.near_duplicate_jaccard)


def propose(
    pool: Sequence[Listed], chooser: Chooser, count: int, *, labelled: Collection[str], seed: int,
    on_rows: Callable[[int], object],
) -> Proposed:  # fmt: skip
    """Up to `count` rows of the pool to label next, the first the most worth it; the same for the same seed.

    `labelled`: the keys of texts that have a label. `on_rows` is called with the number of rows that were asked.
    """
    distinct = {row.key: row for row in reversed(pool)}
    rows = [row for row in pool if distinct[row.key] is row and row.key not in labelled]
    taken = sum(row.key in labelled for row in pool)
    rows = [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]  # of equals any
    asked = _asked(rows, chooser, on_rows)
    asked.sort(key=lambda one: -(one.uncertainty or 0.0))
    short = asked[: max(BEFORE * count, LEAST)]
    clean = [each(chooser.runner.clean, one.row.asked) for one in short]  # as the rows are that they are compared with
    known = nearest(chooser.clean, [as_one(text) for text in clean], LOOKED_AT)
    found = [shingles(key_of(text)) for text in clean]
    is_new = [
        not any(own.repeats(shingles(key_of(near.text)), chooser.jaccard) for near in beside)
        for own, beside in zip(found, known, strict=True)
    ]
    places = [at for at, new in enumerate(is_new) if new]
    apart_M = np.array([1 - max((near.similarity for near in known[at]), default=0.0) for at in places])
    chosen, repeats = diverse(
        vectors_of([as_one(clean[at]) for at in places]),
        np.array([1.0 if (sure := short[at].uncertainty) is None else sure for at in places]),
        apart_M, count, [found[at] for at in places], chooser.jaccard,
    )  # fmt: skip
    doubles = len(pool) - taken - len(rows)
    return Proposed([short[places[at]] for at in chosen], doubles + is_new.count(False) + repeats, taken)


def _asked(rows: Sequence[Listed], chooser: Chooser, on_rows: Callable[[int], object]) -> list[Proposal]:
    """What the model says of each row."""
    found: list[Proposal] = []
    runner, task = chooser.runner, chooser.answers
    for at in range(0, len(rows), BATCH):
        some = rows[at : at + BATCH]
        outputs = runner.predict([row.asked for row in some])
        answers = task.answers(outputs, runner.space)
        sure_N = None if task.confidence is None else task.confidence(outputs, answers, runner.space)
        unsure_N = None if chooser.uncertainty is None else chooser.uncertainty(outputs, runner.space)
        likeliest = chooser.labelling.likeliest(outputs, runner.space, LIKELIEST)
        found += [
            Proposal(
                replace(row, suggestion=answer), None if sure_N is None else round(float(sure_N[own]), 6),
                None if unsure_N is None else round(float(unsure_N[own]), 6), likely,
            )
            for own, (row, answer, likely) in enumerate(zip(some, answers, likeliest, strict=True))
        ]  # fmt: skip
        on_rows(len(some))
    return found


def vectors_of(texts: Sequence[str]) -> csr_matrix:
    """(M, F): TF-IDF of the texts, of words or, where words carry little, of characters; rows of length 1, or 0."""
    if not texts:
        return csr_matrix((0, 0))
    is_words = words_reach(texts) >= WORDS_WORK
    return fitted_vectorizer(texts, "word" if is_words else "char_wb", 1 if is_words else 3)[1]


def diverse(
    vectors_MF: csr_matrix, weight_M: np.ndarray, apart_M: np.ndarray, count: int, found: Sequence[Shingles],
    jaccard: float,
) -> tuple[list[int], int]:  # fmt: skip
    """The places of up to `count` rows, chosen one by one, and how many near duplicates of them were passed over.

    Each is the one with the largest weight times distance (1 - cosine) from the nearest center; of equals the first.
    Centers are those chosen before, and training rows, from which the distances are `apart_M`.
    """
    apart_M, repeats = apart_M.astype(np.float64), 0
    chosen: list[int] = []
    free_M = np.ones(len(weight_M), dtype=bool)
    while free_M.any() and len(chosen) < count:
        worth_M = np.where(free_M, weight_M * apart_M, -np.inf)
        at = int(np.flatnonzero(worth_M == worth_M.max())[0])
        free_M[at] = False
        if any(found[at].repeats(found[other], jaccard) for other in chosen):
            repeats += 1
            continue
        chosen.append(at)
        near_M = (vectors_MF @ vectors_MF[at].T).toarray().ravel()
        apart_M = np.minimum(apart_M, 1 - near_M)
    return chosen, repeats
