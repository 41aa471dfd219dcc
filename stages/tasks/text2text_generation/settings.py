"""Text to text in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared import writers
from stages.tasks.shared.claims import Claim, Shown, as_text

if TYPE_CHECKING:
    from stages.core.params.file import Params

TARGETS = ("target", "summary", "translation", "target_text", "output", "highlights")
WORDS = 3  # of a value, in the mean: fewer are labels


def faults(params: Params) -> Iterator[str]:
    """A line for each value of params.yaml that sources with targets do not allow."""
    yield from writers.faults(params, "text2text_generation")
    if params.tokenize.long_texts == "windows":
        yield (
            "params.yaml: tokenize.long_texts is 'windows', and one target cannot be written from several parts of its"
            " source. Allowed for text2text_generation: truncate."
        )


def claim(shown: Shown) -> Claim | None:
    """Texts of several words that mostly differ, or differ by half where the column is called as targets are.

    Lines of a second file are that whatever they hold.
    """
    if shown.parallel:
        return Claim(3, "the same line of the other file, to be written for that of the first.")
    told = "texts to be written, each for the text beside it."
    if shown.pair is not None or not shown.values or shown.of_numbers or shown.of_lists:
        return None
    if shown.of_texts:
        return Claim(2, told)
    texts = [as_text(value) for value in shown.values]
    is_called_so = str(shown.target).lower() in TARGETS and 2 * shown.distinct >= len(texts)
    return Claim(2, told) if is_called_so and sum(len(text.split()) for text in texts) >= WORDS * len(texts) else None


SETTINGS = TaskSettings(
    as_before="{:.1%} of the tokens are as likely as before, to a tenth",
    noun="writer of texts from texts",
    pipeline_tag="text2text-generation",
    measures=("chrf", "bleu", "rouge1", "rouge2", "rouge_l", "exact_match"),
    starts={
        "ingest.columns.text": "source",
        "ingest.columns.label": "target",
        "model.family": "encoder_decoder",
        "distill.family": "encoder_decoder",
        **writers.FROM_SCRATCH,
        "model.scratch": {"kind": "t5", "layers": 3, "width": 256, "heads": 4, "feed_forward": 512, "positions": 256},
        # A T5's first weights are of several sizes, and one rate is too high for some, too low for others.
        "finetune.scaled_rates": True,
        "finetune.encoder_learning_rate": 2.0e-2,
        "finetune.head_learning_rate": 2.0e-2,
        "distill.teacher_layers": [0, 2],
        "tokenize.max_tokens": 128,
        "quantize.max_loss": 0.01,  # bits a byte of the targets
        **writers.STARTS,
    },
    corpus={
        "ingest.source": "docstring_summaries",
        "ingest.docstrings.rows_per_library": 400,
        "ingest.docstrings.held_out_rows_per_library": 0,
        "ingest.docstrings.min_chars": 100,
        "ingest.docstrings.max_chars": 500,
    },
    targets=TARGETS,
    claim=claim,
    writes="target",
    faults=faults,
)
