"""How a teacher is taught: what `finetune.method` says, and with adapters, where `finetune.lora` has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from stages.core.contracts import Parts
from stages.core.params.file import Params
from stages.core.params.training import FinetuneParams
from stages.training.contrastive import train_on_pairs
from stages.training.loop import Learner, Places, Trained, train
from stages.training.prototypes import with_prototypes
from stages.training.rows import TrainingData


def taught(
    model: nn.Module, data: TrainingData, learner: Learner, places: Places, params: Params, seed: int,
    encoder: Callable[[], nn.Module], read: Callable[[Sequence[str]], list[list[int]]],
) -> Trained:  # fmt: skip
    """The model after what `finetune.method` says; `encoder()` is the pretrained one that gives a text's vector.

    read(texts): the numbers of each text's tokens, as of the rows.
    """
    if params.finetune.method == "contrastive":
        return train_on_pairs(encoder(), model, data, learner, places, params=params.finetune, seed=seed)
    if params.finetune.method == "zero_shot":
        return with_prototypes(model, data, learner, params.finetune.descriptions, read, places.curves)
    return train(model, data, learner, places, params=params.finetune, seed=seed)


def with_adapters(parts: Parts, params: FinetuneParams) -> dict[str, int]:
    """Put adapters into the model, where finetune.lora says so. Returns what the report says of them, if anything."""
    if params.lora is None:
        return {}
    from stages.training.adapters import adapt

    return adapt(parts, params, params.lora)


def without_adapters(trained: Trained, adapted: Mapping[str, int]) -> Trained:
    """The result with the adapters merged into the model's weights, and with what the report says of them."""
    if not adapted:
        return trained
    from stages.training.adapters import merged

    return trained._replace(model=merged(trained.model), report={**trained.report, **adapted})
