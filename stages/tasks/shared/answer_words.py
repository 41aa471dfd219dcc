"""Token F1 and exact match of one answer, by the rules of SQuAD.

An answer's words are those of its text in lower case, without ASCII punctuation and without the articles a, an, the.
F1 is that of the words, exact match that these are the same; of several accepted answers the best one counts. Where
there is none, or nothing is left of its words, only nothing is right.
Source: Rajpurkar et al. 2016, arXiv:1606.05250, section 6, and 2018, arXiv:1806.03822.
"""

from __future__ import annotations

import functools
import re
import string
from collections import Counter
from collections.abc import Sequence

from stages.tasks.shared.quotes import from_text

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@functools.lru_cache(maxsize=1 << 16)
def words_of(text: str) -> tuple[str, ...]:
    """The words of an answer that count."""
    return tuple(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def f1(truth: Sequence[str], answer: Sequence[str]) -> float:
    """F1 of words; where there are none in the one, 1 where there are none in the other either."""
    if not truth or not answer:
        return float(truth == answer)
    return 2 * (Counter(truth) & Counter(answer)).total() / (len(truth) + len(answer))


def of_row(truth: str, answer: str) -> tuple[float, float]:
    """F1 and exact match of an answer, by the accepted one that gives the most of each."""
    given = from_text(answer)
    words = words_of(given[0].text) if given else ()
    accepted = [own for quote in from_text(truth) if (own := words_of(quote.text))] or [()]
    return max(f1(one, words) for one in accepted), float(words in accepted)
