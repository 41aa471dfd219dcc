"""What tasks whose targets are no labels refuse, in the same words: those of vectors that are near or far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from stages.core.params.file import Params


def faults_of_vectors(params: Params, task: str) -> Iterator[str]:
    """A line for each value of params.yaml that vectors of pairs do not allow."""
    finetune, limits = params.finetune, params.validate_
    if finetune.class_weights != "none" or finetune.label_smoothing > 0:
        yield (
            f"params.yaml: finetune.class_weights is '{finetune.class_weights}' and finetune.label_smoothing"
            f" {finetune.label_smoothing:g}, which are about labels. Allowed for {task}: none, 0.0."
        )
    if finetune.teachers > 1:
        yield (
            f"params.yaml: finetune.teachers is {finetune.teachers}, and the vectors of several models have no mean:"
            f" each has directions of its own. Allowed for {task}: 1."
        )
    if limits.min_labels > 1 or (limits.max_label_share or 1) < 1:
        yield (
            f"params.yaml: validate.min_labels is {limits.min_labels} and validate.max_label_share"
            f" {limits.max_label_share}, and to them all pairs are one class. Allowed for {task}: 1, null."
        )
    if params.promotion.max_ece is not None:
        yield (
            f"params.yaml: promotion.max_ece is {params.promotion.max_ece:g}, and similarities come without a"
            f" confidence. Allowed for {task}: null."
        )
    if "label" in params.evaluate.slices:
        yield (
            "params.yaml: evaluate.slices has label, and similarities make no parts. Allowed: length, and columns of"
            " ingest.keep_columns."
        )


def refuse_labels(label_smoothing: float, class_weights_C: torch.Tensor | None) -> None:
    """Raise ValueError where a loss without labels is asked for what is about them."""
    if label_smoothing or class_weights_C is not None:
        raise ValueError(
            "params.yaml: finetune.label_smoothing and finetune.class_weights are about labels. Allowed for vectors:"
            " 0.0, none."
        )
