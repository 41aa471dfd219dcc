"""Rows as tokens with their targets: what training learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from stages.core.contracts import BEGINS, NAMED, PLACE, Space, Text, Writing
from stages.tasks.contract import TargetError, TaskEncoding
from stages.tokens import writing as written
from stages.tokens.windows import boundaries, full_lengths, refuse_windows_of_pairs, windows_of

TARGET = {"int32": "label", "float32": "label", "vector_float32": "label", "list_int32": "labels"}
"""The column of the targets, by `TaskEncoding.feature`: one for a window, or one for each of its tokens."""


def encoded(
    rows: Mapping[str, Sequence[Any]], *, task: TaskEncoding, tokenizer: Tokenizer, space: Space, max_tokens: int,
    stride: int | None = None, writing: Writing | None = None,
) -> dict[str, list[Any]]:  # fmt: skip
    """Columns `row_id`, `text` and `label` -> for each window `row_id`, `input_ids`, its target, and `full_length`.

    The target stands in the column that TARGET names. `full_length` is the number of tokens, special ones included,
    before cutting; with a `stride` that of all but a text's first window is 0. Where there is a column `text_pair`,
    both texts are encoded together, and there is `boundary`: how many tokens have type 0. Raises ValueError, with the
    row's id, for a target outside the space; and for pairs with a `stride`, unless the task takes them so.

    Of a task that reads them apart, `input_ids` are those of the first text and behind them those of the second, each
    with special tokens of its own; there is `second`, where these begin, and `full_length` is that of the longer one.
    Of a task of images the `input_ids` are those of the second text, and there is `image`, the first.

    With `writing`, of a task that writes, the rows are those of `stages.tokens.writing`, and there is `begins` where
    sources are read apart.
    """
    if writing is not None:
        return _written(rows, task, tokenizer, writing, max_tokens, stride)
    are_pairs = "text_pair" in rows
    if are_pairs and not task.windows_of_pairs:
        refuse_windows_of_pairs(stride)
    if task.images:
        return _with_images(rows, task, tokenizer, space, max_tokens)
    if task.apart:
        return _apart(rows, task, tokenizer, space, max_tokens)
    texts: list[Text] = list(zip(rows["text"], rows["text_pair"], strict=True)) if are_pairs else list(rows["text"])
    windows = windows_of(texts, tokenizer, max_tokens=max_tokens, stride=stride, characters=task.characters)
    targets = _targets(rows, task, windows.encodings, windows.at, space)
    return {
        "row_id": [rows["row_id"][row] for row in windows.at],
        "input_ids": [window.ids for window in windows.encodings],
        TARGET[task.feature]: targets,
        "full_length": full_lengths(texts, windows, tokenizer, max_tokens=max_tokens, stride=stride),
        **({PLACE[False]: boundaries(windows.encodings)} if are_pairs else {}),
    }


def _apart(
    rows: Mapping[str, Sequence[Any]], task: TaskEncoding, tokenizer: Tokenizer, space: Space, max_tokens: int
) -> dict[str, list[Any]]:
    how: dict[str, Any] = {"max_tokens": max_tokens, "stride": None}
    texts = [list(rows[name]) for name in ("text", "text_pair")]
    read = [windows_of(some, tokenizer, characters=task.characters, **how) for some in texts]
    lengths = [full_lengths(some, windows, tokenizer, **how) for some, windows in zip(texts, read, strict=True)]
    first, encodings = read[0], [windows.encodings for windows in read]
    return {
        "row_id": list(rows["row_id"]),
        "input_ids": [one.ids + other.ids for one, other in zip(*encodings, strict=True)],
        TARGET[task.feature]: _targets(rows, task, list(zip(*encodings, strict=True)), first.at, space),
        "full_length": [max(both) for both in zip(*lengths, strict=True)],
        PLACE[True]: [len(one.ids) for one in first.encodings],
    }


def _with_images(
    rows: Mapping[str, Sequence[Any]], task: TaskEncoding, tokenizer: Tokenizer, space: Space, max_tokens: int
) -> dict[str, list[Any]]:
    texts = list(rows["text_pair"])
    how: dict[str, Any] = {"max_tokens": max_tokens, "stride": None}
    windows = windows_of(texts, tokenizer, characters=task.characters, **how)
    pairs = list(zip(rows["text"], windows.encodings, strict=True))
    return {
        "row_id": list(rows["row_id"]),
        "input_ids": [window.ids for window in windows.encodings],
        TARGET[task.feature]: _targets(rows, task, pairs, windows.at, space),
        "full_length": full_lengths(texts, windows, tokenizer, **how),
        NAMED: list(rows["text"]),
    }


def _written(
    rows: Mapping[str, Sequence[Any]], task: TaskEncoding, tokenizer: Tokenizer, writing: Writing, max_tokens: int,
    stride: int | None,
) -> dict[str, list[Any]]:  # fmt: skip
    texts, sources = (rows["text"], None) if task.writes == "text" else (rows["label"], rows["text"])
    try:
        found = written.learned(texts, sources, tokenizer, writing, max_tokens=max_tokens, stride=stride)
    except TargetError as error:
        raise ValueError(f"row {rows['row_id'][error.row]}: {error}") from None
    return {
        "row_id": [rows["row_id"][row] for row in found.at],
        "input_ids": found.input_ids,
        "labels": found.labels,
        "full_length": found.full_lengths,
        **({} if found.begins is None else {BEGINS: found.begins}),
    }


def _targets(
    rows: Mapping[str, Sequence[Any]], task: TaskEncoding, encodings: Sequence[Any], at: Sequence[int], space: Space
) -> list[Any]:
    try:
        return task.targets(rows["label"], encodings, at, space)
    except TargetError as error:
        raise ValueError(f"row {rows['row_id'][error.row]}: {error}") from None
