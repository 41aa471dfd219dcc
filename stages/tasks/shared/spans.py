"""Labelled spans of characters: as tags, and as one text.

A span is (start, end, type): the characters start to end - 1 of a text, counted from 0. A text's spans are sorted, and
none overlaps another.

    Ada Lovelace wrote to Babbage        [[0,12,"person"],[22,29,"person"]]
    B-person I-person O O B-person       BIO
    B-person E-person O O S-person       BIOES; as BILOU the same with L for E and U for S
    person   person   O O person         IO
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

OUTSIDE = "O"
PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}
"""Those of BIOES and BILOU -> that of BIOES."""
FLAWS = ("outside", "empty", "without_type", "overlapping")
CUTTING = (
    "classic", "lower_case", "no_digits", "no_punctuation", "no_stop_words", "mask_emails", "mask_numbers",
    "mask_phone_numbers", "mask_urls",
)  # fmt: skip
"""The cleaning rules that take out or change what a span may hold."""


class Span(NamedTuple):
    """The characters `start` to `end` - 1 of a text, and their type."""

    start: int
    end: int
    type: str


def as_text(spans: Iterable[Span]) -> str:
    """The spans as one canonical text: compact JSON, sorted."""
    return json.dumps(sorted(spans), separators=(",", ":"), ensure_ascii=False)


def from_text(text: str) -> tuple[Span, ...]:
    """The spans of such a text. Raises ValueError where it is no list of [start, end, type]."""
    try:
        found = json.loads(text)
        spans = [Span(start, end, kind) for start, end, kind in found]
    except (ValueError, TypeError):
        raise ValueError(f"{text[:80]!r} is no list of spans. Allowed: [[start, end, type], ...]") from None
    for span in spans:
        if type(span.start) is not int or type(span.end) is not int or not isinstance(span.type, str):
            raise ValueError(f"{list(span)} is no span. Allowed: two whole numbers and a text.")
    return tuple(sorted(spans))


def faults(spans: Sequence[Span], length: int) -> list[str]:
    """The mistakes of spans in a text of so many characters, in words."""
    return [words for _, words in flaws(spans, length)]


def flaws(spans: Sequence[Span], length: int) -> Iterator[tuple[str, str]]:
    """The mistakes of spans in a text of so many characters: of each its kind, one of FLAWS, and words."""
    ordered = sorted(spans)
    for span in ordered:
        if not 0 <= span.start <= span.end <= length:
            yield "outside", f"{list(span)} is outside the text, which has {length} characters"
        elif span.start == span.end:
            yield "empty", f"{list(span)} is empty"
        if not span.type.strip():
            yield "without_type", f"{list(span)} has no type"
    for one, other in itertools.pairwise(ordered):
        if other.start < one.end:
            yield "overlapping", f"{list(one)} and {list(other)} overlap"


def of_tags(tags: Sequence[str], offsets: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """The spans of tags in BIO, BIOES, BILOU or IO, one for each token; `offsets`: where each token stands in the text.

    As in the evaluation of CoNLL-2000, a token inside begins a span where none of its type is open, and a span ends
    with E or S, before B, and before another type. A tag without a prefix ("person") is one of IO. Of tokens that
    overlap, as those of one character do in byte-level tokenizers, the first that has a type says it of all.
    """
    spans: list[Span] = []
    is_open = False
    for tag, (start, end) in zip(tags, offsets, strict=True):
        prefix, kind = _parts(tag)
        if prefix == OUTSIDE:
            is_open = False
            continue
        if spans and start < spans[-1].end:  # another token of a character that has its span
            spans[-1] = spans[-1]._replace(end=max(end, spans[-1].end))  # which may go on behind it
        elif is_open and prefix in "IE" and spans[-1].type == kind:
            spans[-1] = spans[-1]._replace(end=end)
        else:
            spans.append(Span(start, end, kind))
        is_open = prefix in "BI"
    return tuple(spans)


def _parts(tag: str) -> tuple[str, str]:
    """("B", "person") of "B-person", ("I", "person") of "person", ("O", "") of "O"."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    return (PREFIXES[prefix], kind) if dash and prefix in PREFIXES else ("I", tag)


def check_tags(tags: Sequence[str]) -> None:
    """Raise ValueError for tags that people never mean as they are read: a type that is none, two schemes in one text.

    With `_`, `-`, `o` and `0` some files mark words of no span; each would become a type of its own.
    """
    prefixed: dict[bool, str] = {}
    for tag in tags:
        if tag == OUTSIDE:
            continue
        _, kind = _parts(tag)
        if not kind[:1].isalnum() or tag in ("o", "0"):
            raise ValueError(
                f"the tag {tag!r} names no type. Write the capital letter O for a word of no span, and types that begin"
                " with a letter or a digit"
            )
        prefixed.setdefault(kind != tag, tag)
    if len(prefixed) == 2:
        raise ValueError(
            f"the tag {prefixed[False]!r} has no prefix, and {prefixed[True]!r} has one. Write all tags in one scheme:"
            " BIO, BIOES or BILOU, such as B-person; or all without a prefix"
        )


def tags_of(spans: Sequence[Span], offsets: Sequence[tuple[int, int]]) -> list[str]:
    """The BIO tag of each token; `offsets`: where it stands in the text, empty for special tokens.

    A token belongs to the span that it shares a character with, the first where there are several.
    """
    tags, ordered, at = [], sorted(spans), 0
    begun = -1  # the number of the span whose first token has been met
    for start, end in offsets:
        while at < len(ordered) and ordered[at].end <= start:
            at += 1
        if at == len(ordered) or start == end or end <= ordered[at].start:
            tags.append(OUTSIDE)
            continue
        tags.append(f"{'I' if begun == at else 'B'}-{ordered[at].type}")
        begun = at
    return tags


def joined(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words with single spaces between, and where each stands in that text."""
    offsets, start = [], 0
    for word in words:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), offsets
