"""Question answering in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared.claims import Claim, Shown
from stages.tasks.shared.spans import CUTTING

if TYPE_CHECKING:
    from stages.core.params.file import Params


def faults(params: Params) -> Iterator[str]:
    """A line for each value of params.yaml that answers within a text do not allow."""
    if params.ingest.columns.text_pair is None:
        yield (
            "params.yaml: ingest.columns.text_pair is null, and a question is the second text beside the one that"
            " answers it. Allowed for questions: the column of the question, such as question; ingest.columns.text is"
            " that of the text, such as context, and ingest.columns.label that of the answers."
        )
    if found := [rule for rule in params.clean.rules if rule in CUTTING]:
        yield (
            f"params.yaml: clean.rules has {', '.join(found)}, which change words, and words are what answers quote."
            " Allowed for questions: rules that leave words as they are, such as unicode_nfc, invisible_characters,"
            " html_markup, white_space."
        )
    if params.clean.rare_labels != "keep":
        yield (
            f"params.yaml: clean.rare_labels is '{params.clean.rare_labels}', and hardly an answer is given twice."
            " Allowed for questions: keep."
        )
    if params.finetune.class_weights != "none":
        yield (
            f"params.yaml: finetune.class_weights is '{params.finetune.class_weights}', and places in a text are no"
            " classes. Allowed for questions: none."
        )
    if "label" in params.evaluate.slices:
        yield (
            "params.yaml: evaluate.slices has label, and hardly an answer is given twice. Allowed for questions:"
            " length, and columns of ingest.keep_columns; quality by the question's first word is in the table"
            " questions."
        )


PAIRS = (("context", "question"),)


def claim(shown: Shown) -> Claim | None:
    """A context with a question and its answers; the classes are whether there is one, which limits must allow for."""
    if shown.pair not in PAIRS or not shown.values:
        return None
    if not all(value.get("text") if isinstance(value, dict) else value for value in shown.values):
        return Claim(3, "quotes of the context that answer the question, where it has an answer.")
    limits = {"validate.min_labels": 1, "validate.max_label_share": None}
    told = "quotes of the context that answer the question. All have one: min_labels is 1, max_label_share null."
    return Claim(3, told, limits)


SETTINGS = TaskSettings(
    noun="question answerer",
    pipeline_tag="question-answering",
    measures=("token_f1", "exact_match"),
    starts={
        "ingest.columns.text": "context",
        "ingest.columns.text_pair": "question",
        "ingest.columns.label": "answers",
        "clean.max_chars": 20_000,  # read in windows
        "validate.min_rows_per_label": 1,
        "tokenize.capitals": "marked",  # names begin with them
        "tokenize.max_tokens": 256,
        "tokenize.long_texts": "windows",
        "tokenize.stride": 64,
        "static.dimensions": 128,  # seven vectors make the features of a token
        "finetune.freeze_embeddings": False,
        "distill.teacher_layers": [0, 2, 3, 5],  # a place in a text wants more layers than a label
        "distill.epochs": 10,
    },
    corpus={
        "ingest.source": "docstring_questions",
        "ingest.docstrings.rows_per_library": 2000,
        "ingest.docstrings.held_out_rows_per_library": 0,
        "ingest.docstrings.unlabelled_rows_per_library": 0,
        "ingest.docstrings.max_chars": 1200,
    },
    targets=("answers", "answer"),
    pairs=PAIRS,
    claim=claim,
    plots=frozenset({"reliability"}),
    faults=faults,
)
