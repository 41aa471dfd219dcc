"""What settings of tasks that write have in common: values that a project begins with, and those that do not go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.shared.left_out import OF_WRITING

if TYPE_CHECKING:
    from stages.core.params.file import Params

STARTS = {
    "clean.conflicting_labels": "keep",  # a text may be written on, or for, in several ways
    "validate.min_labels": 1,  # to these limits all texts are one class
    "validate.max_label_share": None,
    "promotion.max_ece": None,
    "promotion.max_identity_flip_rate": None,
    "finetune.freeze_embeddings": False,
    "distill.freeze_embeddings": False,
    "distill.temperature": 1.0,  # a higher one makes the rest of the vocabulary, one class to a student, the likeliest
    "profile.rounds": 4,  # of a model that writes each figure takes a step a token; with fewer no change can be told
    "profile.single_rows": 10,
    "profile.throughput_rows": 32,
    "profile.batch_sizes": [8, 32],
    "profile.thread_counts": [2],
}
"""Values with which a project of such a task begins."""

FROM_SCRATCH = {
    "model.name": "scratch",
    "model.revision": None,
    "model.sha256": None,
    "model.encoder_dropout": 0.1,
    "tokenize.tokenizer": "trained",
    "tokenize.vocabulary_size": 4000,
    "finetune.encoder_learning_rate": 1.0e-3,
    "finetune.head_learning_rate": 1.0e-3,
    "finetune.epochs": 5,
    "distill.teacher_layers": [0, 3],
    "distill.encoder_learning_rate": 1.0e-3,
    "distill.head_learning_rate": 1.0e-3,
    "prune.vocabulary": "all",  # it was made of the training rows
}
"""Values of a model from random weights, with which one begins where nothing says which pretrained one it is to be."""


def faults(params: Params, name: str) -> Iterator[str]:
    """A line for each value of params.yaml that written texts do not allow; `name` is the task's."""
    if params.finetune.class_weights != "none":
        yield (
            f"params.yaml: finetune.class_weights is '{params.finetune.class_weights}', and texts are no classes."
            f" Allowed for {name}: none."
        )
    if params.clean.rare_labels != "keep":
        yield (
            f"params.yaml: clean.rare_labels is '{params.clean.rare_labels}', and hardly a text occurs twice. Allowed"
            f" for {name}: keep."
        )
    if params.tokenize.capitals != "pretrained":
        yield (
            f"params.yaml: tokenize.capitals is '{params.tokenize.capitals}', and marks would stand in what is written."
            f" Allowed for {name}: pretrained."
        )
    if params.ingest.columns.text_pair is not None:
        yield (
            f"params.yaml: ingest.columns.text_pair is '{params.ingest.columns.text_pair}', and one text is written on,"
            f" or for. Allowed for {name}: null."
        )
    if params.validate_.min_labels > 1 or (params.validate_.max_label_share or 1) < 1:
        yield (
            f"params.yaml: validate.min_labels is {params.validate_.min_labels} and validate.max_label_share"
            f" {params.validate_.max_label_share}, and to them all texts are one class. Allowed for {name}: 1, null."
        )
    if params.promotion.max_ece is not None:
        yield (
            f"params.yaml: promotion.max_ece is {params.promotion.max_ece:g}, and texts come without a confidence."
            f" Allowed for {name}: null."
        )
    if params.promotion.model in OF_WRITING:
        yield (
            f"params.yaml: promotion.model is '{params.promotion.model}', which {name} has not:"
            f" {OF_WRITING[params.promotion.model]}. Allowed: baseline, teacher, student, pruned, quantized."
        )
    if "label" in params.evaluate.slices:
        yield (
            f"params.yaml: evaluate.slices has label, and texts make no parts. Allowed for {name}: length, and columns"
            " of ingest.keep_columns."
        )
