"""Texts that models wrote before and after a change, with the words that differ. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import regex

from stages.core.scripts import WORDS

_PIECE = regex.compile(rf"\s+|[{WORDS}]+|[^{WORDS}\s]")
CUT = "…"


class Run(NamedTuple):
    """Neighbouring words of a text that the other text has too, or has not."""

    text: str
    shared: bool


def beside(one: str, other: str, shown: int) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """Two texts in runs of shared and of own words; of long ones `shown` characters around the first difference.

    one      a dog runs over the green grass        other    a dog walks over the grass
             [     ]    [            ]                       [     ]     [             ]     shared
    """
    start = start_of(one, other, shown)
    cut = [side[start : start + shown] for side in (one, other)]
    pieces = [_PIECE.findall(side) for side in cut]
    matching = difflib.SequenceMatcher(None, pieces[0], pieces[1], autojunk=False).get_matching_blocks()
    found = []
    for number, (side, own) in enumerate(zip((one, other), pieces, strict=True)):
        before = [Run(CUT, shared=True)] * (start > 0)
        after = [Run(CUT, shared=True)] * (start + shown < len(side))
        found.append((*before, *_runs(own, [(block[number], block.size) for block in matching]), *after))
    return found[0], found[1]


def _runs(pieces: Sequence[str], shared: Sequence[tuple[int, int]]) -> Iterator[Run]:
    """The pieces put together, by where those begin that are shared, and how many they are."""
    end = 0
    for start, size in shared:
        for text, is_shared in (("".join(pieces[end:start]), False), ("".join(pieces[start : start + size]), True)):
            if text:
                yield Run(text, shared=is_shared)
        end = start + size


def start_of(one: str, other: str, shown: int) -> int:
    """Where the part of both texts begins that is shown: 0, or shortly before a late difference."""
    pairs = enumerate(zip(one, other, strict=False))
    first = next((at for at, (mine, its) in pairs if mine != its), min(len(one), len(other)))
    return 0 if first < shown * 3 // 4 else first - shown // 4


def shortened(text: str, start: int, shown: int) -> str:
    """`shown` characters of a text from `start` on, in a line."""
    cut = " ".join(text[start : start + shown].split())
    return f"{CUT if start else ''}{cut}{CUT if start + shown < len(text) else ''}"
