"""Demonstrations: the labelled training rows that are most like a text, to stand before it in a prompt.

Source: Liu et al. 2022, "What makes good in-context examples for GPT-3?", arXiv:2101.06804, with TF-IDF for similarity.
N training rows, B texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.core.contracts import Text, as_one
from stages.tasks.shared.words import WORDS_WORK, features, fitted_vectorizer, words_reach

LETTERS = 3  # of n-grams, where words carry little


class Demonstration(NamedTuple):
    """A training row, with the words of its label."""

    text: Text
    words: str


class Demonstrations:
    """The training rows that may be shown."""

    def __init__(self, rows: Sequence[Demonstration]) -> None:
        self.rows = rows
        texts = [as_one(row.text) for row in rows]
        of_words = words_reach(texts) >= WORDS_WORK
        self._vectorizer, self._rows_NV = fitted_vectorizer(
            texts, "word" if of_words else "char_wb", 1 if of_words else LETTERS
        )

    def nearest(self, texts: Sequence[Text], count: int) -> list[list[int]]:
        """Of each of B texts the numbers of up to `count` rows, the nearest first, by the cosine of TF-IDF vectors.

        Of equally near rows the first comes first. A row with the very text that is asked is never among them.
        """
        if not count:
            return [[] for _ in texts]
        cosines_BN = (features([as_one(text) for text in texts], self._vectorizer) @ self._rows_NV.T).toarray()
        found = []
        for text, cosines_N in zip(texts, cosines_BN, strict=True):
            order = np.argsort(-cosines_N, kind="stable")
            others = (int(number) for number in order if self.rows[number].text != text)
            found.append([number for number, _ in zip(others, range(count), strict=False)])
        return found
