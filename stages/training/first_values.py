"""The first values that training rows give to new parts of a teacher, where its family has such parts."""

from __future__ import annotations

import hashlib

from torch import nn

from stages.core.contracts import Family
from stages.training.batches import first_batches
from stages.training.frozen import some_of
from stages.training.rows import TrainingData

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
