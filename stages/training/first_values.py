"""The first values of new parts of a teacher: of new tokens, and of those that training rows give values to."""

from __future__ import annotations

import hashlib
import logging

from torch import nn

from stages.core.contracts import Family
from stages.tokens.pieces import new_tokens
from stages.training.batches import first_batches
from stages.training.frozen import some_of
from stages.training.rows import TrainingData

log = logging.getLogger("winnow")

MOST = 20_000  # rows, at most


def give_first_values(model: nn.Module, family: Family, data: TrainingData) -> list[str]:
    """Give new parts the values that training rows say, where the family has such parts.

    Returns the SHA-256 of each weight that then stays as it is. No checkpoint holds these, and another number of
    threads may give them other last digits: a training that goes on must have the same ones.
    """
    if family.first_values is None:
        return []
    rows = some_of(data.train.without_images, MOST)
    family.first_values(model, first_batches(rows, count=len(rows), pad_id=data.pad_id))
    fixed = [weight.detach().numpy() for weight in model.parameters() if not weight.requires_grad]
    return [hashlib.sha256(values.tobytes()).hexdigest() for values in fixed]


def with_new_tokens(model: nn.Module, family: Family, pieces: list[list[int]], *, frozen: bool) -> nn.Module:
    """The model for a trained tokenizer: each token's embedding is the mean of those of its pretrained pieces."""
    if frozen and (new := new_tokens(pieces)):
        log.warning(
            "finetune: %d of the trained tokenizer's %d tokens are new, and as finetune.freeze_embeddings is true,"
            " their embeddings stay the means that they start as. Set it to false, so that they are learned.",
            new, len(pieces),
        )  # fmt: skip
    return family.new_vocabulary(model, pieces)
