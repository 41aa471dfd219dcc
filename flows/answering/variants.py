"""A text without some of its words, and where what is left stands in the whole text.

Outputs for such a text have places of their own; `moved_back` gives them those of the whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import regex

from stages.core.contracts import Outputs
from stages.core.scripts import UNSPACED, WORDS

NOTHING = "."  # a text without any of its words
# A word, or one character of a script without blanks between words.
_LETTER = rf"[[{WORDS}]--[{UNSPACED}]]"
_WORD = regex.compile(rf"(?V1)[{UNSPACED}]\p{{M}}*|{_LETTER}+(?:['’-]{_LETTER}+)*")


class Place(NamedTuple):
    """A word of a text: of the first one (0), or of the second of a pair (1); the characters `start` to `end` - 1."""

    of: int
    start: int
    end: int


def words_of(texts: Sequence[str]) -> Iterator[Place]:
    """The words of one text, or of both of a pair, in their order."""
    for of, text in enumerate(texts):
        for found in _WORD.finditer(text):
            yield Place(of, *found.span())


class Variant(NamedTuple):
    """A text without some of its words."""

    text: str
    places: np.ndarray
    """For each of its characters where it stands in the whole text."""


def without(text: str, words: Sequence[Place]) -> Variant:
    """The text without some words, and without the blanks behind each, so that no two blanks meet."""
    kept = np.ones(len(text), dtype=bool)
    for _, start, end in words:
        behind = len(text) - len(text[end:].lstrip())
        kept[start : behind if text[end:].strip() else end] = False
    places = np.flatnonzero(kept)
    found = "".join(text[place] for place in places) if words else text
    # What is asked in the place of nothing stands nowhere in the text, but behind it: it is no part of any answer.
    return Variant(found, places) if found.strip() else Variant(NOTHING, np.full(1, len(text)))


def moved_back(outputs: Outputs, variants: Sequence[Variant]) -> Outputs:
    """The outputs of variants with their tokens where these stand in the whole text; of rows as they are."""
    if outputs.offsets is None or outputs.characters is None or outputs.texts is None:
        return outputs
    characters = outputs.characters.copy()
    for number, (variant, read) in enumerate(zip(variants, outputs.texts, strict=True)):
        own = slice(outputs.offsets[number], outputs.offsets[number + 1])
        places = variant.places if read == variant.text else variant.places[_matched(read, variant.text)]
        begins, ends = characters[own, 0], characters[own, 1]
        seen = begins < ends
        begins[seen], ends[seen] = places[begins[seen]], places[ends[seen] - 1] + 1
        begins[~seen] = ends[~seen] = 0
    return outputs._replace(characters=characters)


def _matched(read: str, variant: str) -> np.ndarray:
    """For each character of a text as cleaning left it its place in the text that was cleaned, or the one before."""
    places = np.zeros(len(read), dtype=np.int64)
    for at, place, length in difflib.SequenceMatcher(None, read, variant, autojunk=False).get_matching_blocks():
        places[at : at + length] = np.arange(place, place + length)
    return np.maximum.accumulate(places)
