"""Labelled spans of characters: as tags, as one text, and carried through a change of their text.

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
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

OUTSIDE = "O"
PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}
"""Those of BIOES and BILOU -> that of BIOES."""
WORD = re.compile(r"(?<![<&/#\w])\w+")
"""A word; none is the name of a tag or of a character, which cleaning takes out."""
FLAWS = ("outside", "empty", "without_type", "overlapping")
CUTTING = (
    "classic", "lower_case", "no_digits", "no_punctuation", "no_stop_words", "mask_emails", "mask_numbers",
    "mask_phone_numbers", "mask_urls",
)  # fmt: skip
"""The cleaning rules that take out or change what a span may hold."""

Block = tuple[int, int, int]
"""Where a run of characters stands in one text and in another, and how many they are."""


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
    return (PREFIXES[prefix], kind) if dash and prefix in PREFIXES else ("I", tag)


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
    letters and digits come out as they were, composed or not, whatever became of those around it.
    """
    if before == after:
        return tuple(sorted(spans))
    kept = _places(before, after)
    moved = []
    for span in sorted(spans):
        letters = _letters(before[span.start : span.end])
        found = [place for place in _where(span, kept, after) if _letters(after[place.start : place.end]) == letters]
        if not found:
            return None
        moved.append(found[0])
    return tuple(moved) if not faults(moved, len(after)) else None


def _where(span: Span, kept: Mapping[int, int], after: str) -> Iterator[Span]:
    """Where a span may be now: from its first kept character to its last; then all between the kept ones around it.

    The second is for characters that became others, such as a letter and its accent, which became one.
    """
    inside = [kept[at] for at in range(span.start, span.end) if at in kept]
    if inside:
        yield Span(inside[0], inside[-1] + 1, span.type)
    start = next((kept[at] + 1 for at in range(span.start - 1, -1, -1) if at in kept), 0)
    end = next((kept[at] for at in range(span.end, max(kept, default=-1) + 1) if at in kept), len(after))
    between = after[start:end]
    start += len(between) - len(between.lstrip())
    if any(map(str.isalnum, between)):
        yield Span(start, start + len(between.strip()), span.type)


def _places(before: str, after: str) -> Mapping[int, int]:
    """Position in `before` -> position in `after`, of the characters that both have in common."""
    return {a + at: b + at for a, b, size in _common(before, after, _by_words) for at in range(size)}


def _common(one: str, other: str, between: Callable[[str, str], Iterable[Block]]) -> Iterator[Block]:
    """The runs of characters that two texts have in common, in order.

    They are what both begin with, what both end with, and what `between` finds in the rest.
    """
    start = _same(zip(one, other, strict=False))
    one, other = one[start:], other[start:]
    end = _same(zip(reversed(one), reversed(other), strict=False))
    ends = len(one) - end, len(other) - end
    yield 0, 0, start
    yield from _moved(between(one[: ends[0]], other[: ends[1]]), start, start)
    yield start + ends[0], start + ends[1], end


def _by_words(one: str, other: str) -> Iterator[Block]:
    """The words that both texts have, and the runs of characters between those.

    Words first: to match every character with every other takes time with the square of the text.
    """
    sides = [list(WORD.finditer(text)) for text in (one, other)]
    words = [[word[0] for word in side] for side in sides]
    matcher = SequenceMatcher(None, words[0], words[1], autojunk=False)
    a = b = 0  # the ends of the last word
    for at, there, size in matcher.get_matching_blocks():
        for word, same in zip(sides[0][at : at + size], sides[1][there : there + size], strict=True):
            yield from _moved(_common(one[a : word.start()], other[b : same.start()], _by_characters), a, b)
            yield word.start(), same.start(), len(word[0])
            a, b = word.end(), same.end()
    yield from _moved(_common(one[a:], other[b:], _by_characters), a, b)


def _by_characters(one: str, other: str) -> Iterable[Block]:
    return SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()


def _moved(blocks: Iterable[Block], one: int, other: int) -> Iterator[Block]:
    """The same in texts that have so many characters more in front."""
    return ((a + one, b + other, size) for a, b, size in blocks)


def _same(characters: Iterable[tuple[str, str]]) -> int:
    """The number of pairs until the first that differs."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], characters))


def _letters(text: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKD", text) if character.isalnum())
