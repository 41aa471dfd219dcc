"""Few labels: an encoder learns from pairs of rows whether they share a label, and a linear head is fitted to it.

Each of a few rows stands in many pairs, so there is more to learn from than there are rows.
Source: SetFit, Tunstall et al. 2022, arXiv:2209.11055, section 3.
N rows, C classes, P pairs, B pairs of a batch, K numbers of a vector.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from stages.core.contracts import Family, Head
from stages.core.params.training import FinetuneParams
from stages.training.frozen import put_in, read_by_head
from stages.training.inference import scores_of
from stages.training.linear_head import Chosen, Featured, fitted_head
from stages.training.loop import Learner, Places, Trained, train
from stages.training.processes import own_device
from stages.training.rows import TokenRows, TrainingData

log = logging.getLogger("winnow")

VECTOR = Head("vector", 0)
"""What the encoder puts out while it learns: the pooled vector, of length 1."""
GUESS = 0.25  # the loss of who thinks each pair half alike


class Pairs(NamedTuple):
    """Pairs of rows."""

    rows_P2: np.ndarray
    """The numbers of both rows."""
    alike_P: np.ndarray
    """bool: whether they share a label."""


class Labelled(NamedTuple):
    """The rows that a head is fitted to, and those that choose it; a text in windows is one row, as its first one."""

    train: TokenRows
    validation: TokenRows

    def head(self, vectors_NK: np.ndarray, data: TrainingData, learner: Learner, strengths: Sequence[float]) -> Chosen:
        """The head for vectors of all these rows, those of training first."""
        count = len(self.train)
        return fitted_head(
            Featured(self.train, vectors_NK[:count]), Featured(self.validation, vectors_NK[count:]), task=learner.task,
            space=data.space, measure=learner.measure, inverse_regularizations=strengths,
        )  # fmt: skip


def train_on_pairs(
    encoder: nn.Module,
    model: nn.Module,
    data: TrainingData,
    learner: Learner,
    places: Places,
    *,
    params: FinetuneParams,
    seed: int,
) -> Trained:
    """Train `encoder`, whose head is VECTOR, on pairs of the labelled rows; then fit a head to its vectors.

    `model`, the same encoder with the task's head, gets both, and is the result. After each epoch, too, a head is
    fitted to the training rows; its score on the validation rows chooses the epoch. `learner.task` has the loss of
    heads; `learner.loss` is not asked. Raises ValueError as `train` does, and as `pairs_of`.
    """
    task, strengths = learner.task, params.contrastive.inverse_regularizations
    assert task.holds is not None  # the parameters are refused for other tasks
    rows = data.train.of_numbers(np.flatnonzero(data.train.has_target))
    text_N = np.searchsorted(rows.first_of_texts, np.arange(len(rows)), side="right")
    per_row = params.contrastive.pairs_per_row
    pairs = pairs_of(task.holds(rows.targets, data.space), text_N, per_row=per_row, seed=seed)
    log.info("%d pairs of %d rows, %d of them alike", len(pairs.alike_P), len(rows), pairs.alike_P.sum())
    labelled = Labelled(*(own.of_numbers(own.first_of_texts) for own in (rows, data.validation)))

    def score(_targets: Sequence[Any], vectors: Sequence[np.ndarray]) -> dict[str, float]:
        vectors_NK = np.stack(vectors)
        head = labelled.head(vectors_NK, data, learner, strengths).head
        return scores_of(head.outputs(vectors_NK[len(labelled.train) :]), labelled.validation, task.score)

    def loss(vectors_B2K: torch.Tensor, batch: Mapping[str, torch.Tensor], _rows_B: np.ndarray) -> torch.Tensor:
        return cosine_loss(vectors_B2K, batch["labels"]).mean()

    both = rows.and_rows(data.validation)
    on_pairs = replace(task, head=lambda _: VECTOR, score=score, guess=lambda _: GUESS, fitted=None)
    found = train(
        encoder, replace(data, train=as_pairs(rows, pairs), validation=both),
        learner._replace(task=on_pairs, loss=loss), places, params=params, seed=seed,
    )  # fmt: skip
    vectors_NK = both.by_text(_with_weights_of(found.model, model, both, data.pad_id, learner.family))
    chosen = labelled.head(vectors_NK, data, learner, strengths)
    put_in(learner.family.parts(model).head, *chosen.head)
    how = {"train_rows": len(labelled.train), "pairs": len(pairs.alike_P), **chosen.described(learner.measure)}
    score_of_head = {f"validation_{learner.measure}": round(chosen.score, 6)}
    return Trained(model.cpu(), found.report | how | score_of_head, found.speed, chosen.space)


def _with_weights_of(encoder: nn.Module, model: nn.Module, rows: TokenRows, pad_id: int, family: Family) -> np.ndarray:
    """Give `model` the encoder's weights. Returns the vectors (N, K) of the rows that its head then reads."""
    parts = family.parts(model)
    parts.encoder.load_state_dict(family.parts(encoder).encoder.state_dict())
    return read_by_head(model.to(own_device()), parts.head, rows, pad_id=pad_id, title="labelled rows")


def cosine_loss(vectors_B2K: torch.Tensor, alike_B1: torch.Tensor) -> torch.Tensor:
    """(B,): the squared difference between the cosine of two vectors of length 1, and 1 where they are alike, else 0.

    Source: Reimers and Gurevych 2019, arXiv:1908.10084, section 3, the regression objective.
    """
    first_BK, second_BK = vectors_B2K.float().unbind(1)
    return ((first_BK * second_BK).sum(1) - alike_B1[:, 0]).square()


def pairs_of(holds_NC: np.ndarray, text_N: np.ndarray, *, per_row: int, seed: int) -> Pairs:
    """`per_row` pairs that begin with each row, half of them with one that shares a label, half with one that does not.

    Partners are drawn by `seed`; none comes again before all have come. A row's own text, of which `text_N` has the
    number, is no partner, nor are two rows without any label. A row without a partner of a kind has no pairs of it.
    Raises ValueError where there is no pair of a kind at all: one alone pulls all vectors together, or apart.
    """
    random = np.random.default_rng([seed, *b"pairs"])
    has_any_N = holds_NC.any(1)
    found: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for row, own_C in enumerate(holds_NC):
        others_N = text_N != text_N[row]
        alike_N = (holds_NC & own_C).any(1)
        partners = {True: others_N & alike_N, False: others_N & ~alike_N & (has_any_N | has_any_N[row])}
        for alike, is_one_N in partners.items():
            taken = _drawn(random, np.flatnonzero(is_one_N), (per_row + alike) // 2)
            found[alike].append(np.stack([np.full(len(taken), row), taken], axis=1))
    kinds = {alike: np.concatenate(of_kind) for alike, of_kind in found.items()}
    for alike, words in ((True, "share a label"), (False, "differ in their labels")):
        if not len(kinds[alike]):
            raise ValueError(
                f"params.yaml: finetune.method is 'contrastive', and no two training rows {words}. Label more rows: two"
                " of each of two labels, at least."
            )
    return Pairs(np.concatenate([*kinds.values()]), np.repeat([*kinds], [len(of_kind) for of_kind in kinds.values()]))


def _drawn(random: np.random.Generator, candidates: np.ndarray, count: int) -> np.ndarray:
    """So many of the candidates, all of them in turn; none where there are none."""
    if not len(candidates):
        return candidates
    rounds = -(-count // len(candidates))
    return np.concatenate([random.permutation(candidates) for _ in range(rounds)])[:count]


def as_pairs(rows: TokenRows, pairs: Pairs) -> TokenRows:
    """The pairs as rows of two texts that are read apart, with the target 1.0 where they are alike, else 0.0."""
    numbers = pairs.rows_P2.ravel()
    lengths_P2 = rows.lengths[pairs.rows_P2]
    return TokenRows(
        [f"{rows.row_ids[one]} {rows.row_ids[other]}" for one, other in pairs.rows_P2],
        pairs.alike_P.astype(np.float32)[:, None],
        np.concatenate([[0], np.cumsum(lengths_P2.sum(1))]).astype(np.int64),
        np.concatenate([rows[number]["input_ids"] for number in numbers]),
        lengths_P2[:, 0].astype(np.int32),
        apart=True,
    )
