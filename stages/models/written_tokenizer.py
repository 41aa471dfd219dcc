"""The tokenizers of models that write, as their tokenizer.json describes them, with the token that ends a text.

transformers would make a Llama's or a T5's anew from its vocabulary alone: without its normalizer, split at other
blanks, and a T5's with 100 tokens more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast


def tokenizer_as_it_stands(folder: Path, config: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer in `folder`. Where its own files do not name a token that begins, ends or pads, config.json may.

    It may have no token that begins a text, and none for padding. Raises ValueError where none ends a text.
    """
    found: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    for name in ("bos_token", "eos_token", "pad_token"):
        if getattr(found, name) is None and (token := _named(found, config.get(f"{name}_id"))) is not None:
            setattr(found, name, token)
    if found.eos_token is None:
        raise ValueError(
            "neither tokenizer_config.json (eos_token) nor config.json (eos_token_id) names the token that ends a text,"
            " so that writing would never end. Name it in tokenizer_config.json."
        )
    return found


def _named(tokenizer: PreTrainedTokenizerFast, number: Any) -> str | None:
    """The token of this number, or of the first of these numbers; None where there is none."""
    first = next(iter(number), None) if isinstance(number, list) else number
    return tokenizer.backend_tokenizer.id_to_token(first) if isinstance(first, int) and first >= 0 else None
