"""Texts in batches of similar length: what runners of token models share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

LARGEST_BATCH = 256  # texts at once, whatever the caller gives


def open_tokenizer(folder: Path, *, max_tokens: int) -> Tokenizer:
    """The fast tokenizer in `folder`, cutting at `max_tokens`, without padding."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def probabilities(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    run: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    n_labels: int,
    pad_id: int,
    temperature: float = 1.0,
) -> np.ndarray:
    """Probabilities (N, C) float32 in the order of `texts`.

    run(input_ids, attention_mask), both (B, T) int64, gives logits (B, C), which are divided by `temperature`.
    """
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
    logits = np.empty((len(texts), n_labels), dtype=np.float32)
    for start in range(0, len(order), LARGEST_BATCH):
        rows = order[start : start + LARGEST_BATCH]
        input_ids = np.full((len(rows), len(encoded[rows[0]])), pad_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for i, row in enumerate(rows):
            input_ids[i, : len(encoded[row])] = encoded[row]
            attention_mask[i, : len(encoded[row])] = 1
        logits[rows] = run(input_ids, attention_mask)
    return softmax(logits / np.float32(temperature))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)
