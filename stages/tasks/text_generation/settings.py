"""Text generation in words, and the parameters that it cannot be done with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.tasks.contract import TaskSettings
from stages.tasks.shared import writers
from stages.tasks.shared.claims import Claim, Shown

if TYPE_CHECKING:
    from stages.core.params.file import Params


# Those with the most docstrings, of subjects that are near each other.
LIBRARIES = ["networkx", "numpy", "pandas", "scipy", "sklearn", "sympy", "torch", "transformers"]


def faults(params: Params) -> Iterator[str]:
    """A line for each value of params.yaml that texts alone do not allow."""
    yield from writers.faults(params, "text_generation")
    if params.promotion.max_identity_flip_rate is not None:
        yield (
            f"params.yaml: promotion.max_identity_flip_rate is {params.promotion.max_identity_flip_rate:g}, and a text"
            " with other words is another text. Allowed for text_generation: null."
        )
    if params.tokenize.long_texts != "windows":
        yield (
            f"params.yaml: tokenize.long_texts is '{params.tokenize.long_texts}', and the bits of a text's beginning"
            " would be counted for all of its bytes. Allowed for text_generation: windows."
        )
    if beams := params.cache_logits.sequence_beams:
        yield (
            f"params.yaml: cache_logits.sequence_beams is {beams}, and texts alone have no source that the teacher"
            " could write for. Allowed for text_generation: 0."
        )


def claim(shown: Shown) -> Claim | None:
    """Texts, and nothing beside them."""
    if shown.pair is not None or shown.values or shown.tags_words or shown.parallel:
        return None
    alone = ", as there is no other column" if len(shown.columns) == 1 else ""
    return Claim(2, f"the text itself{alone}: more such texts are to be written.")


SETTINGS = TaskSettings(
    as_before="{:.1%} of the tokens are as likely as before, to a tenth",
    noun="text generator",
    pipeline_tag="text-generation",
    measures=("bits_per_byte", "word_perplexity"),
    starts={
        "ingest.columns.label": "text",  # a text is its own target
        "model.family": "decoder",
        "distill.family": "decoder",
        **writers.FROM_SCRATCH,
        "model.scratch": {
            "kind": "llama",
            "layers": 4,
            "width": 256,
            "heads": 4,
            "feed_forward": 704,
            "positions": 256,
        },
        "clean.rules": ["unicode_nfc", "invisible_characters"],  # lines and indents are part of a text
        "tokenize.max_tokens": 256,
        "tokenize.long_texts": "windows",
        **writers.STARTS,
    },
    corpus={
        "ingest.source": "docstring_texts",
        "ingest.docstrings.libraries": LIBRARIES,
        "ingest.docstrings.rows_per_library": 400,
        "ingest.docstrings.held_out_rows_per_library": 0,
        "ingest.docstrings.min_chars": 100,
        "ingest.docstrings.max_chars": 800,
    },
    claim=claim,
    writes="text",
    faults=faults,
)
