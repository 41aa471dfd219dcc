"""Words of a text, and what is seen of each by name, for linear models without a tokenizer. V features."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import regex
from scipy.sparse import csr_array

from stages.core.scripts import UNSPACED, WORDS

# A word, or one character that is none; of a script without blanks between words each character.
_WORD = regex.compile(rf"(?V1)[{UNSPACED}]|[[{WORDS}]--[{UNSPACED}]]+|[^{WORDS}\s]")
RARE = 2  # features of fewer words of the training rows are left out: they fit one word and no other
EDGE = "<edge>"  # what stands before a text, and behind it
BIAS = "bias"  # every word has it


def words_of(text: str) -> list[tuple[int, int]]:
    """Where each word stands in the text."""
    return [found.span() for found in _WORD.finditer(text)]


def shape_of(word: str) -> str:
    """Its letters as X and x, its digits as d, runs as one: Lovelace is Xx, fit_2d xx is x_dx."""
    if word == EDGE:
        return EDGE
    kinds = ("X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word)
    return re.sub(r"(.)\1+", r"\1", "".join(kinds))


def vocabulary_of(found: Sequence[Sequence[str]]) -> list[str]:
    """The features of these words that are not rare, and the bias; sorted."""
    counted = Counter(name for names in found for name in names)
    return sorted(name for name, count in counted.items() if count >= RARE or name == BIAS)


def indicators(found: Sequence[Sequence[str]], place: Mapping[str, int]) -> csr_array:
    """(words, V): 1 where a word has a feature."""
    columns = [[place[name] for name in names if name in place] for names in found]
    ends = np.cumsum([0, *map(len, columns)], dtype=np.int32)  # scikit-learn takes no wider numbers
    flat = np.array([column for own in columns for column in own], dtype=np.int32)
    return csr_array((np.ones(len(flat), dtype=np.float32), flat, ends), shape=(len(found), len(place)))
