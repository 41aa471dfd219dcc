"""Few labels: an encoder learns which rows of a batch share a label, and a linear head is fitted to its vectors.

Each of a few rows stands in many pairs, so there is more to learn from than there are rows.
Source: the steps are those of SetFit (Tunstall et al. 2022, arXiv:2209.11055, section 3), the loss is the supervised
contrastive one (Khosla et al. 2020, arXiv:2004.11362, equation 2).
N rows, C classes, P pairs, B pairs of a batch, V = 2 B vectors of theirs, K numbers of a vector.
"""

from __future__ import annotations

import logging
import math
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
from stages.training.whole_batch import of_each

log = logging.getLogger("winnow")

VECTOR = Head("vector", 0)
"""What the encoder puts out while it learns: the pooled vector, of length 1."""


class Relations(NamedTuple):
    """What the labelled rows are to each other."""

    holds_NC: np.ndarray
    """bool: which classes each row has."""
    text_N: np.ndarray
    """The number of each row's text, of which it may be one window of several."""


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
    """Train `encoder`, whose head is VECTOR, on pairs of rows that share a label; then fit a head to its vectors.

    `model`, the same encoder with the task's head, gets both, and is the result. After each epoch, too, a head is
    fitted to the training rows; its score on the validation rows chooses the epoch. `learner.task` has the loss of
    heads; `learner.loss` is not asked. Raises ValueError as `train` does, and as `pairs_of`.
    """
    own, holds = params.contrastive, learner.task.holds
    assert holds is not None  # the parameters are refused for other tasks
    rows = data.train.of_numbers(np.flatnonzero(data.train.has_target))
    text_N = np.searchsorted(rows.first_of_texts, np.arange(len(rows)), side="right")
    known = Relations(holds(rows.targets, data.space), text_N)
    pairs_P2 = pairs_of(known, per_row=own.pairs_per_row, seed=seed)
    log.info("%d pairs of %d rows that share a label", len(pairs_P2), len(rows))
    fitted_to, chosen_by = (some.of_numbers(some.first_of_texts) for some in (rows, data.validation))
    heads = Heads(fitted_to, chosen_by, data.space, learner, own.inverse_regularizations)
    both = rows.and_rows(data.validation)
    on_pairs = replace(data, train=as_pairs(rows, pairs_P2), validation=both)
    found = train(encoder, on_pairs, _of_pairs(heads, known, params), places, params=params, seed=seed)
    vectors_NK = both.by_text(_with_weights_of(found.model, model, both, data.pad_id, learner.family))
    chosen = heads.fitted(vectors_NK)
    put_in(learner.family.parts(model).head, *chosen.head)
    how = {"train_rows": len(heads.train), "pairs": len(pairs_P2), **chosen.described(learner.measure)}
    score = {f"validation_{learner.measure}": round(chosen.score, 6)}
    return Trained(model.cpu(), found.report | how | score, found.speed, chosen.space)


def _of_pairs(heads: Heads, known: Relations, params: FinetuneParams) -> Learner:
    """What the encoder learns: which vectors of a batch share a label; its score is that of a head fitted to them."""
    holds_NC, text_N = (torch.from_numpy(of_rows) for of_rows in known)

    def each(vectors_B2K: torch.Tensor, rows_B2: torch.Tensor) -> torch.Tensor:
        rows = rows_B2.long().cpu()
        return contrastive_loss(vectors_B2K, holds_NC[rows], text_N[rows], temperature=params.contrastive.temperature)

    of_heads = heads.learner.task
    guess = math.log(2 * params.batch_size)  # an upper bound of the loss of equal probabilities
    task = replace(
        of_heads, head=lambda _: VECTOR, score=heads.scores, guess=lambda _: guess, fitted=None, whole_batch=True
    )

    def loss(vectors_B2K: torch.Tensor, batch: Mapping[str, torch.Tensor], _rows_B: np.ndarray) -> torch.Tensor:
        return of_each(task, each, vectors_B2K, batch["labels"], counted_B=batch.get("counted")).mean()

    return heads.learner._replace(task=task, loss=loss)


def _with_weights_of(encoder: nn.Module, model: nn.Module, rows: TokenRows, pad_id: int, family: Family) -> np.ndarray:
    """Give `model` the encoder's weights. Returns the vectors (N, K) of the rows that its head then reads."""
    parts = family.parts(model)
    parts.encoder.load_state_dict(family.parts(encoder).encoder.state_dict())
    return read_by_head(model.to(own_device()), parts.head, rows, pad_id=pad_id, title="labelled rows")


def contrastive_loss(
    vectors_B2K: torch.Tensor, holds_B2C: torch.Tensor, text_B2: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """The supervised contrastive loss (B,) in nats, the mean of a pair's two vectors, each of length 1.

    Of a vector (the anchor) it is KL(p || q). p is uniform over its positives: the vectors that share a label with it
    (`holds_B2C`, bool), its partner among them. q is the softmax, over all others of the batch, of their cosines with
    it over `temperature`. From the loss of Khosla et al. it differs in three points:

    - Vectors of the anchor's own text (`text_B2`, numbers of texts), but for its partner, have no part.
    - Nor have those without a label, where the anchor has none either.
    - The entropy of p, which no weights change, is taken off, so that the best loss is 0.
    """
    vectors_VK, holds_VC, text_V = vectors_B2K.float().flatten(0, 1), holds_B2C.flatten(0, 1), text_B2.flatten()
    place_V = torch.arange(len(text_V))
    partner_VV = place_V[:, None] == (place_V ^ 1)  # of 0 it is 1, of 1 it is 0, of 2 it is 3
    share_VV = holds_VC.float() @ holds_VC.float().T > 0
    none_V = ~holds_VC.any(1)
    unclear_VV = (text_V[:, None] == text_V) | (none_V[:, None] & none_V)
    masked_VV = (unclear_VV & ~partner_VV).to(vectors_VK.device)
    positive_VV = (partner_VV | share_VV).to(vectors_VK.device) & ~masked_VV
    logits_VV = (vectors_VK @ vectors_VK.T / temperature).masked_fill(masked_VV, -math.inf)
    log_probabilities_VV = logits_VV.log_softmax(1).masked_fill(~positive_VV, 0.0)
    positives_V = positive_VV.sum(1)
    return -(log_probabilities_VV.sum(1) / positives_V + positives_V.log()).view(-1, 2).mean(1)


def pairs_of(known: Relations, *, per_row: int, seed: int) -> np.ndarray:
    """(P, 2) numbers of rows: `per_row` pairs that begin with each row, whose partners share a label with it.

    Partners are drawn by `seed`; none comes again before all have come. A row's own text is no partner of it, unless no
    other row shares a label: then it is, as those of others are to be told apart from it all the same. Raises
    ValueError where no two rows share a label, or no two differ in theirs.
    """
    random = np.random.default_rng([seed, *b"pairs"])
    found, some_share, some_differ = [], False, False
    for row, own_C in enumerate(known.holds_NC):
        others_N = known.text_N != known.text_N[row]
        share_N = (known.holds_NC & own_C).any(1)
        partners = np.flatnonzero(others_N & share_N)
        some_share = some_share or len(partners) > 0
        some_differ = some_differ or bool((others_N & ~share_N).any())
        taken = _drawn(random, partners if len(partners) else np.array([row]), per_row)
        found.append(np.stack([np.full(len(taken), row), taken], axis=1))
    for there_are, words in ((some_share, "share a label"), (some_differ, "differ in their labels")):
        if not there_are:
            raise ValueError(
                f"params.yaml: finetune.method is 'contrastive', and no two training rows {words}. Label more rows: two"
                " of one label and one of another, at least; better two of each."
            )
    return np.concatenate(found)


def _drawn(random: np.random.Generator, candidates: np.ndarray, count: int) -> np.ndarray:
    """So many of the candidates, all of them in turn."""
    rounds = -(-count // len(candidates))
    return np.concatenate([random.permutation(candidates) for _ in range(rounds)])[:count]


def as_pairs(rows: TokenRows, pairs_P2: np.ndarray) -> TokenRows:
    """The pairs as rows of two texts that are read apart, with the numbers of both rows as their targets.

    They are float32, as integers would be taken for the targets of tokens; up to 2 ** 24 it has each number.
    """
    numbers = pairs_P2.ravel()
    lengths_P2 = rows.lengths[pairs_P2]
    return TokenRows(
        [f"{rows.row_ids[one]} {rows.row_ids[other]}" for one, other in pairs_P2],
        pairs_P2.astype(np.float32),
        np.concatenate([[0], np.cumsum(lengths_P2.sum(1))]).astype(np.int64),
        np.concatenate([rows[number]["input_ids"] for number in numbers]),
        lengths_P2[:, 0].astype(np.int32),
        apart=True,
    )
