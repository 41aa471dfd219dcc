"""Near duplicates among a few texts, as `clean` has them: sets of character 5-grams that overlap enough, by Jaccard."""

from __future__ import annotations

from dataclasses import dataclass

import regex

SHINGLE = 5  # characters, as of `clean`
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")


@dataclass(frozen=True)
class Shingles:
    """A text by which it is compared: its letters, marks and digits, case-folded, and their 5-grams."""

    key: str
    grams: frozenset[str]

    def repeats(self, other: Shingles, jaccard: float) -> bool:
        """Whether the texts are the same, or nearly; `jaccard` 1 leaves the latter out."""
        if self.key == other.key:
            return True
        if jaccard >= 1 or not self.grams or not other.grams:
            return False
        shared = len(self.grams & other.grams)
        return shared >= jaccard * (len(self.grams) + len(other.grams) - shared)


def shingles(text: str) -> Shingles:
    """The shingles of a text; of one without letters and digits the text itself is compared."""
    key = " ".join(_WORD.findall(text.casefold())) or text
    return Shingles(key, frozenset(key[at : at + SHINGLE] for at in range(len(key) - SHINGLE + 1)))
