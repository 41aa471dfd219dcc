"""Regression in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared.claims import Claim, Shown

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
    if params.validate_.min_labels > 1 or (params.validate_.max_label_share or 1) < 1:
        yield (
            f"params.yaml: validate.min_labels is {params.validate_.min_labels} and validate.max_label_share"
            f" {params.validate_.max_label_share}, and to them all numbers are one class. Allowed for regression: 1,"
            " null."
        )
    if params.promotion.max_ece is not None:
        yield (
            f"params.yaml: promotion.max_ece is {params.promotion.max_ece:g}, and numbers come without a confidence."
            " Allowed for regression: null."
        )
    if "label" in params.evaluate.slices:
        yield (
            "params.yaml: evaluate.slices has label, and numbers make no parts. Allowed for regression: length, and"
            " columns of ingest.keep_columns."
        )


def claim(shown: Shown) -> Claim | None:
    """Numbers with a fraction, or many different ones."""
    if not shown.of_amounts:
        return None
    return Claim(1, f"numbers ({shown.distinct} different ones), so the task is to estimate them.")


SETTINGS = TaskSettings(
    as_before="to {:.1%} of them the number of before, to a tenth of what numbers deviate by",
    noun="regressor of texts",
    pipeline_tag="text-classification",
    measures=("pearson", "spearman"),
    starts={
        "validate.min_labels": 1,  # to these limits all numbers are one class
        "validate.max_label_share": None,
        "promotion.max_ece": None,
        # With two layers a student lost 8% of its teacher's measure on validation rows, and with labels 1%.
        "distill.teacher_layers": [0, 3, 5],
        "distill.epochs": 6,
    },
    corpus={
        "ingest.source": "human_ratings",
        "ingest.path": "corpora.txt",
        "ingest.keep_columns": ["domain"],
    },
    targets=("score", "rating", "value"),
    claim=claim,
    faults=faults,
)
