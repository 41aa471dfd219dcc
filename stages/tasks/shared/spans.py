"""Labelled spans of characters: as tags, as one text, and carried through a change of their text.

A span is (start, end, type): the characters start to end - 1 of a text, counted from 0. A text's spans are sorted, and
none overlaps another.

    Ada Lovelace wrote to Babbage        [[0,12,"person"],[22,29,"person"]]
    B-person I-person O O B-person       BIO
    B-person E-person O O S-person       BIOES
    person   person   O O person         IO
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

OUTSIDE = "O"
INSIDE_OF_BIOES = frozenset("BIES")


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
    """The mistakes of spans in a text of so many characters, in words: outside, empty, without a type, overlapping."""
    found = []
    for span in sorted(spans):
        if not 0 <= span.start <= span.end <= length:
            found.append(f"{list(span)} is outside the text, which has {length} characters")
        elif span.start == span.end:
            found.append(f"{list(span)} is empty")
        if not span.type.strip():
            found.append(f"{list(span)} has no type")
    ordered = sorted(spans)
    found += [
        f"{list(one)} and {list(other)} overlap" for one, other in itertools.pairwise(ordered) if other.start < one.end
    ]
    return found


def of_tags(tags: Sequence[str], offsets: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """The spans of tags in BIO, BIOES or IO, one for each token; `offsets`: where each token stands in the text.

    As in the evaluation of CoNLL-2000, a token inside begins a span where none of its type is open, and a span ends
    with E or S, before B, and before another type. A tag without a prefix ("person") is one of IO.
    """
    spans: list[Span] = []
    is_open = False
    for tag, (start, end) in zip(tags, offsets, strict=True):
        prefix, kind = _parts(tag)
        if prefix == OUTSIDE:
            is_open = False
            continue
        if is_open and prefix in "IE" and spans[-1].type == kind:
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
    return (prefix, kind) if dash and prefix in INSIDE_OF_BIOES else ("I", tag)


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


def carried(spans: Sequence[Span], before: str, after: str) -> tuple[Span, ...] | None:
    """The spans of `before` in `after`, the same text once it was cleaned; None where one of them cannot be told.

    Both ends of a span are mapped by the characters that the two texts have in common. A span is carried where its
    letters and digits come out as they were, whatever became of those around it.
    """
    if before == after:
        return tuple(sorted(spans))
    kept = _places(before, after)
    moved = []
    for span in sorted(spans):
        inside = [kept[at] for at in range(span.start, span.end) if at in kept]
        if not inside:
            return None
        found = Span(inside[0], inside[-1] + 1, span.type)
        if _letters(before[span.start : span.end]) != _letters(after[found.start : found.end]):
            return None
        moved.append(found)
    return tuple(moved) if not faults(moved, len(after)) else None


def _places(before: str, after: str) -> Mapping[int, int]:
    """Position in `before` -> position in `after`, of the characters that both have in common."""
    start = next((at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), None)
    if start is None:  # one begins with all of the other
        return {at: at for at in range(min(len(before), len(after)))}
    blocks = SequenceMatcher(None, before[start:], after[start:], autojunk=False).get_matching_blocks()
    places = {at: at for at in range(start)}
    places |= {start + a + at: start + b + at for a, b, size in blocks for at in range(size)}
    return places


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())
