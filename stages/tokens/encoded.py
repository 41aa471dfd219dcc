"""Rows as tokens with their targets: what training learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from stages.core.contracts import Space, Text
from stages.tasks.contract import TargetError, TaskEncoding
from stages.tokens.windows import boundaries, full_lengths, windows_of

TARGET = {"int32": "label", "float32": "label", "vector_float32": "label", "list_int32": "labels"}
"""The column of the targets, by `TaskEncoding.feature`: one for a window, or one for each of its tokens."""


def encoded(
    rows: Mapping[str, Sequence[Any]], *, task: TaskEncoding, tokenizer: Tokenizer, space: Space, max_tokens: int,
    stride: int | None = None,
) -> dict[str, list[Any]]:  # fmt: skip
    """Columns `row_id`, `text` and `label` -> for each window `row_id`, `input_ids`, its target, and `full_length`.

    The target stands in the column that TARGET names. `full_length` is the number of tokens, special ones included,
    before cutting; with a `stride` that of all but a text's first window is 0. Where there is a column `text_pair`,
    both texts are encoded together, and there is `boundary`: how many tokens have type 0. Raises ValueError, with the
    row's id, for a target outside the space; and for pairs with a `stride`, unless the task takes them so.
    """
    are_pairs = "text_pair" in rows
    if are_pairs and stride is not None and not task.windows_of_pairs:
        raise ValueError(
            "params.yaml: tokenize.long_texts is 'windows', and ingest.columns.text_pair gives pairs of texts."
            " Allowed for pairs: truncate, which cuts the longer text first."
        )
    texts: list[Text] = list(zip(rows["text"], rows["text_pair"], strict=True)) if are_pairs else list(rows["text"])
    windows = windows_of(texts, tokenizer, max_tokens=max_tokens, stride=stride, characters=task.characters)
    try:
        targets = task.targets(rows["label"], windows.encodings, windows.at, space)
    except TargetError as error:
        raise ValueError(f"row {rows['row_id'][error.row]}: {error}") from None
    return {
        "row_id": [rows["row_id"][row] for row in windows.at],
        "input_ids": [window.ids for window in windows.encodings],
        TARGET[task.feature]: targets,
        "full_length": full_lengths(texts, windows, tokenizer, max_tokens=max_tokens, stride=stride),
        **({"boundary": boundaries(windows.encodings)} if are_pairs else {}),
    }
