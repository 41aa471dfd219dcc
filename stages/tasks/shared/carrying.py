"""Spans of a text, carried through a change of it."""

from __future__ import annotations

import html
import itertools
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache, partial
from typing import TypeVar

import regex

from stages.tasks.shared.spans import Span, faults

WORD = regex.compile(r"<[^<>]*>|(?<![<&/#\p{L}\p{N}_])([\p{L}\p{N}\p{M}_]+)")
"""A tag; or, as its group, a word, which is not the name of a character (&amp;): cleaning takes both out."""
MOST_PAIRS = 50_000  # of equal words, or characters, of two texts
Items = TypeVar("Items", str, Sequence[str])
DEEPEST = 20  # texts between texts between texts
Block = tuple[int, int, int]
"""Where a run of characters stands in one text and in another, and how many they are."""


def carried(spans: Sequence[Span], before: str, after: str) -> tuple[Span, ...] | None:
    """The spans of `before` in `after`, the same text once it was cleaned; None where one of them cannot be told.

    Both ends of a span are mapped by the characters that the two texts have in common. A span is carried where its
    letters and digits come out as they were, composed or not, whatever became of those around it.
    """
    if before == after or not spans:
        return tuple(sorted(spans))
    kept = _places(before, after)
    moved = []
    for span in sorted(spans):
        own = before[span.start : span.end]
        letters = _letters(own)
        found = [
            place for place in _where(span, kept, own, after) if _letters(after[place.start : place.end]) == letters
        ]
        if not found:
            return None
        moved.append(found[0])
    return tuple(moved) if not faults(moved, len(after)) else None


def _where(span: Span, kept: Mapping[int, int], own: str, after: str) -> Iterator[Span]:
    """Where a span of the words `own` may be now.

    First what lies from its first kept character to its last, then what lies between the kept ones around it.

    The second is for characters that became others, such as a letter and its accent, which became one; it ends at
    letters where the span does, as what stands beside them may have become another character, too.
    """
    inside = [kept[at] for at in range(span.start, span.end) if at in kept]
    if inside:
        yield Span(inside[0], inside[-1] + 1, span.type)
    start = next((kept[at] + 1 for at in range(span.start - 1, -1, -1) if at in kept), 0)
    end = next((kept[at] for at in range(span.end, max(kept, default=-1) + 1) if at in kept), len(after))
    between = after[start:end]
    start += len(between) - len(between.lstrip())
    between = between.strip()
    if any(map(str.isalnum, between)):
        signs = [len(between) - len(text) for text in (_from_letter(between), _from_letter(between[::-1]))]
        left, right = (n if _is_letter(end) else 0 for n, end in zip(signs, (own[0], own[-1]), strict=True))
        yield Span(start + left, start + len(between) - right, span.type)
        yield Span(start, start + len(between), span.type)


def _is_letter(character: str) -> bool:
    """Whether it is a letter, a digit, or a mark on one."""
    return unicodedata.category(character)[0] in "LMN"


def _from_letter(text: str) -> str:
    return text[next(at for at, character in enumerate(text) if _is_letter(character)) :]


@lru_cache(maxsize=4)
def _places(before: str, after: str) -> Mapping[int, int]:
    """Position in `before` -> position in `after`, of the characters that both have in common. It is not changed."""
    return {a + at: b + at for a, b, size in _common(before, after, _by_words) for at in range(size)}


def _common(one: Items, other: Items, between: Callable[[Items, Items], Iterable[Block]]) -> Iterator[Block]:
    """The runs of characters that two texts have in common, in order; or of words, of lists of them.

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

    Words first: they are fewer, and seldom the same by chance.
    """
    sides = [[found for found in WORD.finditer(text) if found[1]] for text in (one, other)]
    words = [[unicodedata.normalize("NFC", word[0]) for word in side] for side in sides]
    a = b = 0  # the ends of the last word
    for at, there, size in _matched(words[0], words[1]):
        for word, same in zip(sides[0][at : at + size], sides[1][there : there + size], strict=True):
            yield from _moved(_common(one[a : word.start()], other[b : same.start()], _matched), a, b)
            if word[0] == same[0]:
                yield word.start(), same.start(), len(word[0])
            else:  # composed, and not
                yield from _moved(_common(word[0], same[0], _matched), word.start(), same.start())
            a, b = word.end(), same.end()
    yield from _moved(_common(one[a:], other[b:], _matched), a, b)


def _matched(one: Sequence[str], other: Sequence[str], depth: int = 0) -> Iterator[Block]:
    """The runs of words, or characters, that both have, in order.

    Where the same ones come again and again, as those of a line of dashes, to match them takes time with the third
    power of their number. There those are matched with which both begin and end, those that come once in either
    (Cohen's "patience diff"), and what lies between them where that is little.
    """
    counts, others = Counter(one), Counter(other)
    if sum(count * others[item] for item, count in counts.items()) <= MOST_PAIRS:
        yield from SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    elif depth < DEEPEST:
        yield from _common(one, other, partial(_by_single_ones, depth=depth + 1))


def _by_single_ones(one: Sequence[str], other: Sequence[str], depth: int) -> Iterator[Block]:
    """Those that come once in either, and the runs between them."""
    counts, others = Counter(one), Counter(other)
    places = {item: at for at, item in enumerate(other) if others[item] == 1}
    once = [(at, places[item]) for at, item in enumerate(one) if counts[item] == 1 and item in places]
    a = b = 0
    for at, there in [*_rising(once), (len(one), len(other))]:
        if once:  # else there is nothing that they are between
            yield from _moved(_matched(one[a:at], other[b:there], depth), a, b)
        if at < len(one):
            yield at, there, 1
        a, b = at + 1, there + 1


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The most of the pairs, which are in the order of their first numbers, whose second numbers rise as well."""
    ends: list[int] = []  # the least last number of such a sequence of each length, and which pair has it
    at_ends: list[int] = []
    before: list[int] = []
    for number, (_, second) in enumerate(pairs):
        length = bisect_left(ends, second)
        before.append(at_ends[length - 1] if length else -1)
        ends[length : length + 1], at_ends[length : length + 1] = [second], [number]
    found, number = [], at_ends[-1] if at_ends else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _moved(blocks: Iterable[Block], one: int, other: int) -> Iterator[Block]:
    """The same in texts that have so many characters more in front."""
    return ((a + one, b + other, size) for a, b, size in blocks)


def _same(characters: Iterable[tuple[str, str]]) -> int:
    """The number of pairs until the first that differs."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], characters))


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", html.unescape(text))
    return "".join(character for character in plain if character.isalnum())
