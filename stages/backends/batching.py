"""Texts to token ids, and rows of equal length to batches; shared by the runners of token models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from stages.core.contracts import INPUTS, Text, each

BATCH_TOKENS = 2048  # in one run of the model, whatever the batch of the caller
# Characters that are read for each token that the model takes: WordPiece knows no longer word. The first tokens of a
# text longer than that rarely need more, and a text of a megabyte costs as little as one of some thousand characters.
CHARACTERS_A_TOKEN = 100
WINDOWED_CHARACTERS = 1_000_000  # of a text that is read in windows, which takes time in proportion


class TextTokenizer(NamedTuple):
    """A fast tokenizer that truncates at the model's maximum length."""

    fast: Tokenizer
    windows: bool
    """Whether the pieces beyond the maximum length are read too."""
    characters: int
    """The number of characters of a text that are read, at most."""


def open_tokenizer(folder: Path, description: Mapping[str, Any]) -> TextTokenizer:
    """The tokenizer in `folder`, without padding, truncating as the model's `description` (model.json) says."""
    tokenizer, max_tokens = Tokenizer.from_file(str(folder / "tokenizer.json")), description["max_tokens"]
    windows = description.get("long_texts") == "windows"
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens, stride=description["stride"] if windows else 0)
    return TextTokenizer(tokenizer, windows, WINDOWED_CHARACTERS if windows else max_tokens * CHARACTERS_A_TOKEN)


def encode(texts: Sequence[Text], tokenizer: TextTokenizer) -> tuple[list[Encoding], list[int]]:
    """The encoding of each text or pair, or of each window of a text; and the number of encodings of each text.

    Of a pair the longer text is cut first, as in training. Half a surrogate pair is read as "?".
    """
    cut = [each(lambda part: part[: tokenizer.characters], text) for text in texts]
    try:
        encoded = tokenizer.fast.encode_batch_fast(cut)
    except TypeError:  # what is no valid Unicode is no text to it
        encoded = tokenizer.fast.encode_batch_fast([each(_valid, text) for text in cut])
    if not tokenizer.windows:
        return encoded, [1] * len(texts)
    windows = [[encoding, *encoding.overflowing] for encoding in encoded]
    return [window for of_text in windows for window in of_text], [len(of_text) for of_text in windows]


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def model_inputs(encodings: Sequence[Encoding], *, are_pairs: bool) -> list[np.ndarray]:
    """The inputs of a model, in the order of INPUTS, (B, T) int64 each, for B encodings of T tokens."""
    input_ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
    types = [np.array([encoding.type_ids for encoding in encodings], dtype=np.int64)] if are_pairs else []
    return [input_ids, np.ones_like(input_ids), *types]


def calibration_inputs(
    texts: Sequence[Text], folder: Path, description: Mapping[str, Any]
) -> list[dict[str, np.ndarray]]:
    """The inputs (1, T) of each text or window, by the tokenizer in `folder`. Raises ValueError where there is none."""
    if not texts:
        raise ValueError(
            "quantize: ranges of activations are learned from calibration rows, and there are none. Add training rows,"
            " or set quantize.activations to 'dynamic' (onnxruntime_int8)."
        )
    are_pairs = not isinstance(texts[0], str)
    return [
        dict(zip(INPUTS, model_inputs([encoding], are_pairs=are_pairs), strict=False))
        for encoding in encode(texts, open_tokenizer(folder, description))[0]
    ]


def only_taken(names: Collection[str], inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Those of `inputs`, in the order of INPUTS, that a model with inputs of these `names` takes."""
    return {name: array for name, array in zip(INPUTS, inputs, strict=False) if name in names}


def probabilities(
    texts: Sequence[Text],
    tokenizer: TextTokenizer,
    run: Callable[..., np.ndarray],
    *,
    n_labels: int,
    temperature: float = 1.0,
) -> np.ndarray:
    """Probabilities (N, C) float32 in the order of `texts`.

    run(input_ids, attention_mask), of pairs run(input_ids, attention_mask, token_type_ids), (B, T) int64 each, gives
    logits (B, C). Their mean over the windows of a text, each counted by its tokens, is divided by `temperature`.
    Only rows of the same length share a run: nothing is padded, which costs more than the further runs.
    """
    encoded, windows = encode(texts, tokenizer)
    are_pairs = len(texts) > 0 and not isinstance(texts[0], str)
    if len(encoded) == 1:
        return softmax(run(*model_inputs(encoded, are_pairs=are_pairs)) / np.float32(temperature))
    logits = np.empty((len(encoded), n_labels), dtype=np.float32)
    for rows in _equally_long(encoded):
        logits[rows] = run(*model_inputs([encoded[row] for row in rows], are_pairs=are_pairs))
    if len(encoded) > len(texts):
        first, tokens = np.cumsum([0, *windows[:-1]]), np.array([[float(len(encoding))] for encoding in encoded])
        mean = np.add.reduceat(logits * tokens, first, axis=0) / np.add.reduceat(tokens, first, axis=0)
        logits = mean.astype(np.float32)
    return softmax(logits / np.float32(temperature))


def _equally_long(encoded: Sequence[Encoding]) -> list[list[int]]:
    """Positions of rows of the same length, at most `BATCH_TOKENS` tokens together, the longest first."""
    by_length: dict[int, list[int]] = {}
    for row, encoding in enumerate(encoded):
        by_length.setdefault(len(encoding), []).append(row)
    groups = []
    for length in sorted(by_length, reverse=True):
        rows, size = by_length[length], max(1, BATCH_TOKENS // max(1, length))
        groups += [rows[i : i + size] for i in range(0, len(rows), size)]
    return groups


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)
