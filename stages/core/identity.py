"""Words for people in a text: swapped for those of others, and for whom they stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from stages.core.contracts import Text, as_one
from stages.core.identity_words import LISTS, IdentityList

Entry = TypeVar("Entry")
WordLists = str | Sequence[str] | Sequence[Sequence[str]]
"""A published list by its name, several, or sets of words: stages/core/params/identity.py."""

OWN = "own"  # what sets that params.yaml gives itself are called
NOBODY, SEVERAL = "(none)", "(several)"  # rows without a word for anybody, and with words for more than one


def lists_of(lists: WordLists) -> dict[str, IdentityList]:
    """The lists by their names, in their order; sets of params.yaml itself are one, whose sides the first set names."""
    if isinstance(lists, str):
        return {lists: LISTS[lists]}
    if all(isinstance(one, str) for one in lists):
        return {str(name): LISTS[str(name)] for name in lists}
    sets = tuple(tuple(words) for words in lists)
    longest = max(sets, key=len)
    return {OWN: IdentityList(sets, (*sets[0], *longest[len(sets[0]) :]))}


def swapper(sets: Sequence[Sequence[str]]) -> Callable[[str], str]:
    """A function that replaces every whole word of a set by the next one, the last by the first, with its case kept.

    Of a pair that is the other one. Where words overlap, as "african american" and "american" do, the longest counts.
    """
    others = {word.lower(): other for words in sets for word, other in zip(words, [*words[1:], words[0]], strict=True)}
    if not others:
        return str
    pattern = _pattern(others)
    return lambda text: pattern.sub(lambda match: _like(match[0], _entry(match[0], others)), text)


def _pattern(words: Mapping[str, object]) -> re.Pattern[str]:
    """One that finds whole words, of those that begin alike the longest."""
    longest = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest))})(?!\w)", flags=re.IGNORECASE)


def _entry(found: str, words: Mapping[str, Entry]) -> Entry:
    """The entry of the word that was found as `found`; case is ignored as the pattern does.

    It takes more letters for one than `lower` does: the dotless and the dotted i of Turkish, the long s of old prints.
    """
    entry = words.get(found.lower())
    if entry is None:
        entry = next(of for word, of in words.items() if re.fullmatch(re.escape(word), found, re.IGNORECASE))
    return entry


def _like(word: str, other: str) -> str:
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def sides_of(texts: Sequence[Text], lists: WordLists) -> list[str]:
    """For whom the words of each text stand: a side of a list, NOBODY, or SEVERAL.

    Of several lists, a text with words of two has both sides in its value: "female, muslim".
    """
    parts = [list(_sides(texts, one)) for one in lists_of(lists).values()]
    return [", ".join(found) or NOBODY for found in (_named(of_text) for of_text in zip(*parts, strict=True))]


def _named(of_lists: Sequence[str]) -> list[str]:
    return [side for side in of_lists if side != NOBODY]


def _sides(texts: Sequence[Text], of: IdentityList) -> Iterator[str]:
    places = {word.lower(): place for words in of.sets for place, word in enumerate(words)}
    pattern = _pattern(places)
    for text in texts:
        found = {_entry(match[0], places) for match in pattern.finditer(as_one(text))}
        yield NOBODY if not found else SEVERAL if len(found) > 1 else of.sides[found.pop()]
