"""Image-text matching in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared.without_labels import faults_of_vectors

if TYPE_CHECKING:
    from stages.core.params.file import Params

TASK = "image_text_matching"
MEASURES = (
    "recall_at_1", "recall_at_5", "recall_at_10", "text_recall_at_1", "text_recall_at_5", "text_recall_at_10",
    "image_recall_at_1", "image_recall_at_5", "image_recall_at_10",
)  # fmt: skip
# Rules that would cut a word out of an image's name, or the name itself.
CUTTING = ("classic", "no_stop_words")


def faults(params: Params) -> Iterator[str]:
    """A line for each value of params.yaml that images and texts do not allow."""
    yield from _of_data(params)
    yield from faults_of_vectors(params, TASK)
    asked = params.evaluate.zero_shot
    if asked is not None and asked.column not in params.ingest.keep_columns:
        yield (
            f"params.yaml: evaluate.zero_shot.column is '{asked.column}', which ingest.keep_columns does not have. Add"
            " it there, or name one of them."
        )


def _of_data(params: Params) -> Iterator[str]:
    columns, images = params.ingest.columns, params.ingest.images
    if images is None:
        yield "params.yaml: ingest.images is null, and rows have images. Say how they are read: docs/images.md."
    if columns.text_pair is None or columns.label != columns.text_pair:
        yield (
            f"params.yaml: ingest.columns.text_pair is '{columns.text_pair}', and ingest.columns.label"
            f" '{columns.label}'. Name the column of the texts in both, as an image's target is its text;"
            " ingest.columns.text is that of the images."
        )
    if params.ingest.source == "files" and PurePosixPath(params.ingest.path).suffix in (".csv", ".tsv", ".jsonl"):
        yield (
            f"params.yaml: ingest.path is '{params.ingest.path}', a file beside its images, whose change nothing would"
            " notice. Name the folder that they all are in."
        )
    if wrong := [rule for rule in params.clean.rules if rule in CUTTING]:
        yield f"params.yaml: clean.rules has {wrong[0]}, which cuts words out of names of images. Take it out."
    if params.clean.languages is not None:
        yield "params.yaml: clean.languages is a list, and an image has no language. Allowed: null."
    tower = params.model.image
    if images is not None and tower is not None and tower.size != images.size:
        yield (
            f"params.yaml: model.image.size is {tower.size}, and ingest.images.size {images.size}. Give both the same"
            " number."
        )


SETTINGS = TaskSettings(
    as_before="to {:.1%} of them the similarity of before, to 0.05",
    noun="matcher of images and texts",
    pipeline_tag="zero-shot-image-classification",
    measures=MEASURES,
    images=True,
    starts={
        "ingest.images": {
            "size": 64, "fit": "pad", "background": [255, 255, 255], "min_side": 8, "max_side": 20_000,
            "max_pixels": 50_000_000, "max_bytes": 20_000_000,
        },
        "validate.min_labels": 1,  # to these limits all pairs are one class
        "validate.max_label_share": None,
        "promotion.max_ece": None,
        "model.family": "two_towers",
        "model.image": {"size": 64, "patch": 8, "depths": [2, 3], "widths": [48, 96], "projection": 256},
        "model.image_augmentation": 0.5,
        "finetune.head_learning_rate": 2.0e-3,  # a new tower of images is of the head
        "finetune.weight_decay": 0.05,
        "finetune.freeze_embeddings": True,  # some thousand texts teach their tower nothing
        "finetune.freeze_layers": 6,
        "finetune.epochs": 60,  # of a tower from random weights
        "finetune.patience": 60,
        "finetune.batch_size": 128,
        "distill.family": "two_towers",
        "distill.epochs": 20,
        "distill.batch_size": 64,
        "prune.epochs": 10,
        "distill.head_learning_rate": 1.0e-3,
        "distill.teacher_layers": [0, 3, 5],
    },
    corpus={
        "ingest.source": "emoji",
        "ingest.path": "emoji.txt",
        "ingest.columns.text": "image",
        "ingest.columns.text_pair": "label, tags",
        "ingest.columns.label": "label, tags",
        "ingest.keep_columns": ["style", "category"],
        "ingest.splits": {
            "train": "train", "validation": "validation", "test": "twitter", "transfer": None, "held_out": None
        },
        "clean.near_image_bits": 0,  # many faces are as round and yellow as each other, and no copies
        "tokenize.max_tokens": 32,
        "evaluate.slices": ["length", "style", "category"],
        "evaluate.zero_shot": {"column": "category", "templates": ["{}", "a drawing of {}", "an emoji of {}"]},
    },
    targets=("caption", "text"),
    pairs=(("image", "caption"), ("image", "text"), ("file_name", "text")),
    faults=faults,
)  # fmt: skip
