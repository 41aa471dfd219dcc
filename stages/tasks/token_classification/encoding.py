"""Spans as the numbers of BIO tags, one for each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.core.contracts import NO_LABEL
from stages.tasks.contract import Space, TargetError, TaskEncoding
from stages.tasks.shared.spans import OUTSIDE, Span, from_text, tags_of

if TYPE_CHECKING:
    from tokenizers import Encoding


def space(targets: Sequence[str]) -> Space:
    """The tags: O, then B and I of each type, sorted. Raises ValueError where no target has a span."""
    types = sorted({span.type for target in targets for span in from_text(target)})
    if not types:
        raise ValueError("no training row has a span: there is nothing to learn. Add rows with labelled spans.")
    return {"tags": [OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]}


def targets(
    targets_N: Sequence[str | None], encodings: Sequence[Encoding], at: Sequence[int], space: Space
) -> list[list[int]]:
    """For each window the number of each token's tag; NO_LABEL for special tokens, and where the target is None.

    Every sub-word has one: the first of a span's B, all others I. Raises TargetError for a type that is not of the
    space.
    """
    number = {tag: place for place, tag in enumerate(space["tags"])}
    spans_N = [None if target is None else from_text(target) for target in targets_N]
    for row, spans in enumerate(spans_N):
        for span in spans or ():
            if f"B-{span.type}" not in number:
                known = ", ".join(tag[2:] for tag in space["tags"] if tag.startswith("B-"))
                raise TargetError(
                    row,
                    f"has a span of the type '{span.type}', which no training row has. Allowed: {known}. Give it"
                    " training rows, or take it out.",
                )
    return [_numbers(spans_N[row], encoding, number) for encoding, row in zip(encodings, at, strict=True)]


def _numbers(spans: Sequence[Span] | None, encoding: Encoding, number: dict[str, int]) -> list[int]:
    offsets = encoding.offsets
    if spans is None:
        return [NO_LABEL] * len(offsets)
    return [
        number[tag] if start < end and not special else NO_LABEL
        for tag, (start, end), special in zip(
            tags_of(spans, offsets), offsets, encoding.special_tokens_mask, strict=True
        )
    ]


ENCODING = TaskEncoding(space=space, targets=targets, feature="list_int32", characters=True)
