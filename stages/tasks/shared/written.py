"""Texts that are written: their canonical form, and what is counted of them beside how right they are."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter

import regex

from stages.core.scripts import WORDS

BITS = math.log(2)  # nats of a bit
REPEATED = 4  # words of a run that says something twice
_WORD = regex.compile(f"[{WORDS}]+")
_LINE_END = re.compile(r"[^\S\n]*(?:\r\n|\r|\n)")
_UNSHOWN = (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029)  # controls, and what else ends a line
_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*_UNSHOWN, ord("\\"))}


def canonical(text: str) -> str:
    """A written text as it is compared: letters composed (NFC), lines end in a line feed, no blanks at an end."""
    return _LINE_END.sub("\n", unicodedata.normalize("NFC", text)).strip()


def words(text: str) -> list[str]:
    """Its words, in small letters: runs of letters and digits of any script."""
    return _WORD.findall(text.lower())


def repetition(text: str) -> float:
    """The share of its runs of four words that stand in it already, in [0, 1]; 0 with fewer words.

    Source: seq-rep-4 of Welleck et al. 2020, arXiv:1908.04319.
    """
    own = words(text)
    runs = Counter(zip(*(own[at:] for at in range(REPEATED)), strict=False))
    return 1 - len(runs) / runs.total() if runs else 0.0


def copied(source: str, text: str) -> float:
    """The share of its words that the source has too, in [0, 1]; 0 without words.

    Source: the coverage of Grusky et al. 2018, doi:10.18653/v1/N18-1065.
    """
    own, known = words(text), set(words(source))
    return sum(word in known for word in own) / len(own) if own else 0.0


def in_a_line(text: str) -> str:
    """A text as a column of a line: line ends, tabs, other controls and the backslash as in Python: \\n, \\t, \\x1b."""
    return text.translate(_ESCAPES)
