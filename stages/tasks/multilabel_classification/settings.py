"""Multi-label classification in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared.claims import Claim, Shown

if TYPE_CHECKING:
    from stages.core.params.file import Params


def faults(params: Params) -> Iterator[str]:
    """A line for slices by label: a text has several."""
    if "label" in params.evaluate.slices:
        yield (
            "params.yaml: evaluate.slices has label, and a text has several, or none. Allowed for sets of labels:"
            " length, and columns of ingest.keep_columns; quality by label is in metrics/quality and in the table"
            " labels."
        )


def claim(shown: Shown) -> Claim | None:
    """Lists, or labels between separators."""
    return Claim(1, "sets of labels, so several may hold for a text.") if shown.values and shown.of_lists else None


SETTINGS = TaskSettings(
    noun="multi-label text classifier",
    pipeline_tag="text-classification",
    measures=("micro_f1", "macro_f1", "subset_accuracy"),
    corpus={
        "ingest.source": "docstring_types",
        "ingest.docstrings.libraries": ["numpy", "pandas", "scipy", "sklearn"],  # those with numpydoc sections
        "ingest.docstrings.rows_per_library": 1800,
        "ingest.docstrings.held_out_rows_per_library": 0,
        "ingest.docstrings.unlabelled_rows_per_library": 0,
        "ingest.docstrings.min_chars": 20,
        "ingest.docstrings.max_chars": 300,
    },
    targets=("labels", "tags", "emotions", "emotion"),
    claim=claim,
    plots=frozenset({"reliability"}),
    classes="several",
    faults=faults,
)
