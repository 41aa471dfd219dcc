"""Text classification in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared.claims import Claim, Shown

if TYPE_CHECKING:
    from stages.core.params.file import Params


def faults(params: Params) -> Iterator[str]:
    """A line for limits of the data that would let a single label pass: there is nothing to tell apart then."""
    limits = params.validate_
    if limits.min_labels < 2:
        yield f"params.yaml: validate.min_labels is {limits.min_labels}. Allowed for labels of texts: 2 or more."
    if limits.labels is not None and len(limits.labels) < 2:
        yield "params.yaml: validate.labels has 1 entry. Allowed for labels of texts: at least 2 entries, or null."


def claim(shown: Shown) -> Claim | None:
    """Any target may be a label, where nothing tells another task."""
    if not shown.values:
        return None
    if not shown.of_numbers:
        return Claim(0, f"{shown.distinct} different labels, one a text.")
    amounts, task = ("amounts", "regression") if shown.pair is None else ("how similar both are", "sentence_similarity")
    told = f"labels. Where they are {amounts}, say so: --task {task}"
    return Claim(0, f"{shown.distinct} different whole numbers, taken for {told}.")


SETTINGS = TaskSettings(
    noun="text classifier",
    pipeline_tag="text-classification",
    measures=("macro_f1", "accuracy"),
    corpus={"ingest.source": "docstrings"},
    targets=("label", "class", "category", "target", "sentiment", "stars", "rating", "score", "topic", "intent"),
    pairs=(("premise", "hypothesis"), ("text_a", "text_b"), ("text", "text_pair")),
    claim=claim,
    plots=frozenset({"confusion", "reliability"}),
    classes="one",
    faults=faults,
)
