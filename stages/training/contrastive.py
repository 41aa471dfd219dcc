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

from stages.core.contracts import Family, Head, Space
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


class Heads(NamedTuple):
    """What a head is fitted to, and chosen by; a text in windows is one row, as its first one."""

    train: TokenRows
    validation: TokenRows
    space: Space
    learner: Learner
    """Its task has the loss."""
    inverse_regularizations: Sequence[float]

    def fitted(self, vectors_NK: np.ndarray) -> Chosen:
        """The head for vectors of all these rows, those of training first."""
        count = len(self.train)
        return fitted_head(
            Featured(self.train, vectors_NK[:count]), Featured(self.validation, vectors_NK[count:]),
            task=self.learner.task, space=self.space, measure=self.learner.measure,
            inverse_regularizations=self.inverse_regularizations,
        )  # fmt: skip

    def scores(self, _targets: Sequence[Any], vectors: Sequence[np.ndarray]) -> dict[str, float]:
        """The scores of that head on the validation rows, as a task's `score` gives them."""
        vectors_NK = np.stack(vectors)
        outputs = self.fitted(vectors_NK).head.outputs(vectors_NK[len(self.train) :])
        return scores_of(outputs, self.validation, self.learner.task.score)


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
    own, holds = params.contrastive, learner.task.holds
    assert holds is not None  # the parameters are refused for other tasks
    rows = data.train.of_numbers(np.flatnonzero(data.train.has_target))
    text_N = np.searchsorted(rows.first_of_texts, np.arange(len(rows)), side="right")
    pairs = pairs_of(holds(rows.targets, data.space), text_N, per_row=own.pairs_per_row, seed=seed)
    log.info("%d pairs of %d rows, %d of them alike", len(pairs.alike_P), len(rows), pairs.alike_P.sum())
    fitted_to, chosen_by = (some.of_numbers(some.first_of_texts) for some in (rows, data.validation))
    heads = Heads(fitted_to, chosen_by, data.space, learner, own.inverse_regularizations)
    both = rows.and_rows(data.validation)
    on_pairs = replace(data, train=as_pairs(rows, pairs), validation=both)
    found = train(encoder, on_pairs, _of_pairs(heads), places, params=params, seed=seed)
    vectors_NK = both.by_text(_with_weights_of(found.model, model, both, data.pad_id, learner.family))
    chosen = heads.fitted(vectors_NK)
    put_in(learner.family.parts(model).head, *chosen.head)
    how = {"train_rows": len(heads.train), "pairs": len(pairs.alike_P), **chosen.described(learner.measure)}
    score = {f"validation_{learner.measure}": round(chosen.score, 6)}
    return Trained(model.cpu(), found.report | how | score, found.speed, chosen.space)


def _of_pairs(heads: Heads) -> Learner:
    """What the encoder learns: the cosines of pairs, and as its score that of a head fitted to its vectors."""

    def loss(vectors_B2K: torch.Tensor, batch: Mapping[str, torch.Tensor], _rows_B: np.ndarray) -> torch.Tensor:
        return cosine_loss(vectors_B2K, batch["labels"]).mean()

    of_heads = heads.learner.task
    task = replace(of_heads, head=lambda _: VECTOR, score=heads.scores, guess=lambda _: GUESS, fitted=None)
    return heads.learner._replace(task=task, loss=loss)


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
    has_any_N = np.asarray(holds_NC.any(1))
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
