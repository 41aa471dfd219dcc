"""Token classification in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared.claims import Claim, Shown
from stages.tasks.shared.spans import CUTTING

if TYPE_CHECKING:
    from stages.core.params.file import Params


STRENGTHS = [0.001, 0.003, 0.01, 0.03, 0.1, 1.0, 10.0]  # of some hundred rows the small ones, of many the large


def faults(params: Params) -> Iterator[str]:
    """A line for each value of params.yaml that labelled spans do not allow."""
    if found := [rule for rule in params.clean.rules if rule in CUTTING]:
        yield (
            f"params.yaml: clean.rules has {', '.join(found)}, which change words, and words are what spans label."
            " Allowed for entities: rules that leave words as they are, such as unicode_nfc, invisible_characters,"
            " html_markup, white_space."
        )
    if params.tokenize.long_texts == "windows" and params.tokenize.stride < 2:
        yield (
            f"params.yaml: tokenize.stride is {params.tokenize.stride}, and an entity that goes on in the next window"
            " would be two. Allowed for entities in windows: 2 or more."
        )
    if params.clean.rare_labels != "keep":
        yield (
            f"params.yaml: clean.rare_labels is '{params.clean.rare_labels}', and a text may have spans of several"
            " types. Allowed for entities: keep."
        )
    if params.ingest.columns.text_pair is not None:
        yield (
            f"params.yaml: ingest.columns.text_pair is '{params.ingest.columns.text_pair}', and spans are of one text."
            " Allowed for entities: null."
        )
    if params.finetune.class_weights != "none":
        yield (
            f"params.yaml: finetune.class_weights is '{params.finetune.class_weights}', under which every word outside"
            " would count for next to nothing. Allowed for entities: none."
        )
    if "label" in params.evaluate.slices:
        yield (
            "params.yaml: evaluate.slices has label, and a text has no single one. Allowed for entities: length, and"
            " columns of ingest.keep_columns; quality by type is in metrics/quality and in the table entities."
        )


def claim(shown: Shown) -> Claim | None:
    """Tags of words, or lists of places."""
    if shown.tags_words:
        return Claim(2, "a tag for each word, so the task is to find entities.")
    if shown.of_lists and any(
        isinstance(item, dict | list) for value in shown.values if isinstance(value, list) for item in value
    ):
        return Claim(2, "places in the text, each with a type, so the task is to find entities.")
    return None


SETTINGS = TaskSettings(
    noun="entity tagger",
    pipeline_tag="token-classification",
    measures=("entity_f1", "type_f1", "bounds_f1", "exact_match"),
    starts={
        "validate.min_rows_per_label": 1,
        "tokenize.capitals": "marked",  # names begin with them
        # Some thousand rows: longer, all weights, and no place for learning them by heart.
        "model.encoder_dropout": 0.1,
        "finetune.epochs": 6,
        "finetune.freeze_embeddings": False,
        "static.dimensions": 128,  # seven vectors make the features of a token
        "static.inverse_regularizations": STRENGTHS,
        "probe.inverse_regularizations": STRENGTHS,
        "probe.depths": [0.5, 1.0],  # the last layer of an encoder of texts says little of a single token
        # A tag a token wants more layers than a label, and names want more words than those of some thousand rows: on
        # validation rows of GUM 1,000 common words had 48.8 points, 8,000 had 50.4, 20,000 had 51.6.
        "distill.teacher_layers": [0, 2, 3, 5],
        "distill.epochs": 10,
        "prune.common_words": 8000,
    },
    corpus={
        "ingest.source": "docstring_roles",
        "ingest.docstrings.rows_per_library": 3000,
        "ingest.docstrings.held_out_rows_per_library": 0,
        "ingest.docstrings.max_chars": 600,
        "tokenize.max_tokens": 160,
    },
    targets=("ner_tags", "tags", "spans", "entities"),
    claim=claim,
    plots=frozenset({"reliability"}),
    faults=faults,
)
