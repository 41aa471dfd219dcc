"""Sentence similarity in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared.claims import Claim, Shown
from stages.tasks.shared.without_labels import faults_of_vectors

if TYPE_CHECKING:
    from stages.core.params.file import Params

TASK = "sentence_similarity"
OF_NUMBERS, OF_PAIRS = ("spearman",), ("ndcg_at_10", "mrr", "recall_at_1", "recall_at_10")


def faults(params: Params) -> Iterator[str]:
    """A line for each value of params.yaml that similarities of texts do not allow."""
    columns = params.ingest.columns
    if columns.text_pair is None:
        yield (
            "params.yaml: ingest.columns.text_pair is null, and similar are two texts. Name the column of the second"
            " one."
        )
    if columns.label == columns.text_pair and params.task.measure in OF_NUMBERS:
        yield (
            f"params.yaml: task.measure is '{params.task.measure}', and ingest.columns.label '{columns.label}', the"
            f" second text itself, so rows are pairs without numbers. Allowed for them: {', '.join(OF_PAIRS)}."
        )
    yield from faults_of_vectors(params, TASK)


GRADES = ("score", "similarity", "relatedness")


def claim(shown: Shown) -> Claim | None:
    """Pairs with a number that is no label, or with nothing besides."""
    if shown.pair is None:
        return None
    if not shown.values:
        told = f"{shown.pair[1]}, as there is no other: the two texts of a row are taken to belong together"
        return Claim(2, f"{told}.", {"ingest.columns.label": shown.pair[1], "task.measure": OF_PAIRS[0]})
    is_grade = shown.of_numbers and shown.distinct > 2 and str(shown.target).lower() in GRADES
    if shown.of_amounts or is_grade:
        return Claim(2, "numbers, taken for how similar the two texts are. Else: --task regression.")
    return None


SETTINGS = TaskSettings(
    as_before="to {:.1%} of them the similarity of before, to 0.05",
    noun="sentence encoder",
    pipeline_tag="sentence-similarity",
    measures=(*OF_NUMBERS, *OF_PAIRS),
    starts={
        "validate.min_labels": 1,  # to these limits all pairs are one class
        "validate.max_label_share": None,
        "promotion.max_ece": None,
        # With two layers a student lost 8% of its teacher's measure on validation rows, and with labels 1%.
        "distill.teacher_layers": [0, 3, 5],
        "distill.epochs": 8,
    },
    corpus={
        "task.measure": "ndcg_at_10",
        "ingest.source": "docstring_pairs",
        "ingest.columns.text_pair": "second",
        "ingest.columns.label": "second",
        "ingest.docstrings.held_out_rows_per_library": 0,
        "ingest.docstrings.max_chars": 600,
        "tokenize.max_tokens": 128,
    },
    targets=GRADES,
    pairs=(("sentence1", "sentence2"), ("question1", "question2"), ("query", "document"), ("anchor", "positive")),
    claim=claim,
    faults=faults,
)
