"""ROUGE-1, ROUGE-2 and ROUGE-L of one answer, as the package rouge-score gives them; a test compares the two.

That package takes seconds to be imported, as it brings NLTK for a stemmer that is not used here, and its table of the
longest common subsequence is a loop over all pairs of words.
Source: Lin 2004, https://aclanthology.org/W04-1013; https://github.com/google-research/google-research/tree/master/rouge
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

SIGNATURE = "rouge-score:0.1.2|f1|stemmer:no|mean of rows"
_NO_WORD = re.compile(r"[^a-z0-9]+")


def words(text: str) -> list[str]:
    """The words that ROUGE sees: runs of a to z and of digits, in small letters. Other scripts have none."""
    return _NO_WORD.sub(" ", text.lower()).split()


def rouge(truth: str, answer: str) -> tuple[float, float, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L: F1 of shared words, of pairs of words, of the longest common subsequence.

    Each in [0, 1]; 0 where one side has no words.
    """
    true, given = words(truth), words(answer)
    found = [_f1(_shared(true, given, size), len(true) - size + 1, len(given) - size + 1) for size in (1, 2)]
    return found[0], found[1], _f1(longest_common(true, given), len(true), len(given))


def _shared(true: Sequence[str], given: Sequence[str], size: int) -> int:
    counts = [Counter(zip(*(side[at:] for at in range(size)), strict=False)) for side in (true, given)]
    return (counts[0] & counts[1]).total()


def _f1(shared: int, true: int, given: int) -> float:
    """F1, with the operations in the order of rouge-score's, so that the last digit is the same."""
    precision, recall = shared / max(given, 1), shared / max(true, 1)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence: a bit for each word of `one`, a step for each of `other`.

    Source: Hyyro 2004, "Bit-parallel LCS-length computation revisited".
    """
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    all_bits = (1 << len(one)) - 1
    rest = all_bits  # a bit is 0 where the subsequence grew
    for word in other:
        met = rest & places.get(word, 0)
        rest = ((rest + met) | (rest - met)) & all_bits
    return len(one) - rest.bit_count()
