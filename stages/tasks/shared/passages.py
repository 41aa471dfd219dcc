"""The passages of a text with their odds, and the odds from which on one is given as the answer.

N rows, T tokens of a row, D tokens of a passage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from stages.core.contracts import Outputs, Space
from stages.tasks.shared import places, quotes
from stages.tasks.shared.answer_words import of_row
from stages.tasks.shared.odds_threshold import best_threshold
from stages.tasks.shared.places import Passage
from stages.tasks.shared.quotes import Quote


class Row(NamedTuple):
    """A text, and the score of each of its passages."""

    text: str
    characters_T2: np.ndarray
    scores_TD: np.ndarray
    total: float
    """The logarithm of the sum of all odds, that of no answer among them where there may be none."""

    def quote(self, passage: Passage) -> Quote:
        """What the passage says."""
        start, end = self.characters_T2[passage.first, 0], self.characters_T2[passage.last, 1]
        return quotes.quoted(self.text, int(start), int(end))

    def tokens(self, quote: Quote) -> Passage | None:
        """The passage that a quote is; None where no token has a part of it."""
        return places.within(self.characters_T2, quote.start, quote.end)

    def probability(self, passage: Passage) -> float:
        """That this passage is the answer; 0 for one that is too long."""
        more = passage.last - passage.first
        return math.exp(self.scores_TD[passage.first, more] - self.total) if more < self.scores_TD.shape[1] else 0.0


def rows_of(outputs: Outputs, space: Space) -> Iterator[Row]:
    """Each text with its passages: N of them."""
    assert outputs.offsets is not None
    assert outputs.characters is not None
    assert outputs.texts is not None
    seen = outputs.characters[:, 0] < outputs.characters[:, 1]
    nothing = [0.0] if space["unanswerable"] else []
    for text, start, end in zip(outputs.texts, outputs.offsets[:-1], outputs.offsets[1:], strict=True):
        own = seen[start:end]
        values_T2, characters_T2 = outputs.values[start:end][own], outputs.characters[start:end][own]
        most_T = places.most_tokens(characters_T2, space["longest"])
        scores_TD = places.scores(values_T2[:, 0], values_T2[:, 1], most_T)
        yield Row(text, characters_T2, scores_TD, places.total(scores_TD, *nothing))


def given(row: Row, space: Space) -> Passage | None:
    """The answer, if there is one: the likeliest passage, unless its odds against none are below the threshold."""
    found = places.best(row.scores_TD)
    if found is None or (space["unanswerable"] and found[0] < space.get("threshold", 0.0)):
        return None
    return found[1]


def fitted(truths: Sequence[str], outputs: Outputs, space: Space, measure: str) -> Space:
    """The space with the `threshold` by which the measure of these rows is best; as it is where all have an answer.

    An answer is given where the logarithm of its odds against none is not below it.
    """
    if not space["unanswerable"]:
        return space
    measured = ("token_f1", "exact_match").index(measure)
    found_N2 = []
    for truth, row in zip(truths, rows_of(outputs, space), strict=True):
        if found := places.best(row.scores_TD):
            answer = quotes.as_text([row.quote(found[1])])
            found_N2.append((found[0], of_row(truth, answer)[measured] - of_row(truth, "[]")[measured]))
    odds_N, gains_N = np.array(found_N2, dtype=np.float64).reshape(-1, 2).T
    return {**space, "threshold": best_threshold(odds_N, gains_N)}
