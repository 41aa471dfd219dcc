"""Regression in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings

if TYPE_CHECKING:
    from stages.core.params.file import Params


def faults(params: Params) -> Iterator[str]:
    """A line for each value of params.yaml that numbers do not allow."""
    if params.finetune.class_weights != "none":
        yield (
            f"params.yaml: finetune.class_weights is '{params.finetune.class_weights}', and numbers have no classes."
            " Allowed for regression: none."
        )
    if params.finetune.label_smoothing > 0:
        yield (
            f"params.yaml: finetune.label_smoothing is {params.finetune.label_smoothing:g}, and numbers have no labels"
            " to spread it over. Allowed for regression: 0.0."
        )
    if "label" in params.evaluate.slices:
        yield (
            "params.yaml: evaluate.slices has label, and numbers make no parts. Allowed for regression: length, and"
            " columns of ingest.keep_columns."
        )


SETTINGS = TaskSettings(
    noun="regressor of texts", pipeline_tag="text-classification", measures=("pearson", "r2"), faults=faults
)
