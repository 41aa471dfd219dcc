"""Spans of a text, carried through a change of it."""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from stages.tasks.shared.spans import Span, faults

WORD = re.compile(r"<[^<>]*>|(?<![<&/#\w])(\w+)")
"""A tag; or, as its group, a word, which is not the name of a character (&amp;): cleaning takes both out."""
Block = tuple[int, int, int]
"""Where a run of characters stands in one text and in another, and how many they are."""


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
    sides = [[found for found in WORD.finditer(text) if found[1]] for text in (one, other)]
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
    plain = unicodedata.normalize("NFKD", html.unescape(text))
    return "".join(character for character in plain if character.isalnum())
