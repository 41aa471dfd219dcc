"""Models from random weights: `model.name: scratch`, in the shape that the section `model.scratch` says.

A folder is made with their config.json alone, so that everything else reads it as that of any model. It has no
tokenizer: one is trained (`tokenize.tokenizer: trained`), and gives the table of tokens its size.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.files import write_json

if TYPE_CHECKING:
    from stages.core.params.model import ScratchParams

# What T5's tokenizers number so: padding, which also begins what is written, and the end.
T5_TOKENS = {"pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 1}
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
_held: dict[ScratchParams, tempfile.TemporaryDirectory[str]] = {}


def folder_of(params: ScratchParams) -> Path:
    """A folder with the config.json of a model of this shape, which is gone when the process ends."""
    if params not in _held:
        _held[params] = tempfile.TemporaryDirectory(prefix="winnow-scratch-")
        write_json(Path(_held[params].name) / "config.json", config_of(params))
    return Path(_held[params].name)


def config_of(params: ScratchParams) -> dict[str, Any]:
    """config.json, without the number of tokens."""
    return {"gpt2": _gpt2, "llama": _llama, "t5": _t5}[params.kind](params)


def _gpt2(params: ScratchParams) -> dict[str, Any]:
    return {
        "model_type": "gpt2", "n_layer": params.layers, "n_embd": params.width, "n_head": params.heads,
        "n_inner": params.feed_forward, "n_positions": params.positions, **NO_TOKENS,
    }  # fmt: skip


def _llama(params: ScratchParams) -> dict[str, Any]:
    return {
        "model_type": "llama", "num_hidden_layers": params.layers, "hidden_size": params.width,
        "num_attention_heads": params.heads, "num_key_value_heads": params.heads,
        "intermediate_size": params.feed_forward, "max_position_embeddings": params.positions,
        "tie_word_embeddings": True, **NO_TOKENS,
    }  # fmt: skip


def _t5(params: ScratchParams) -> dict[str, Any]:
    """As T5 1.1, whose feed-forward part is gated, with one table for reading, writing and logits."""
    return {
        "model_type": "t5", "num_layers": params.layers, "num_decoder_layers": params.layers, "d_model": params.width,
        "num_heads": params.heads, "d_kv": params.width // params.heads, "d_ff": params.feed_forward,
        "feed_forward_proj": "gated-gelu", "n_positions": params.positions, **T5_TOKENS,
    }  # fmt: skip
