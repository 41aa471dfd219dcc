"""A dictionary learned from pairs of texts, a word for a word: IBM model 1.

Source: Brown et al. 1993, "The mathematics of statistical machine translation", https://aclanthology.org/J93-2003.
Each word of a target comes from a word of its source, or from none; five rounds of expectation and maximisation, from
even shares, whose maximum is the same from everywhere. M places: a word of a source beside one of its target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import regex

from stages.core.scripts import WORDS

ROUNDS = 5
MOST_PLACES = 8_000_000  # of rows evenly taken; some 300 MB
MOST_WORDS = 100  # of a text, from its beginning
NONE = ""  # the word that others come from where none of the source's does
_WORD = regex.compile(f"[{WORDS}]+")


def learned(sources: Sequence[str], targets: Sequence[str]) -> dict[str, str]:
    """For each word of the sources, in small letters, the likeliest word of the targets."""
    given = [[NONE, *_WORD.findall(text.lower())[:MOST_WORDS]] for text in sources]
    written = [_WORD.findall(text)[:MOST_WORDS] for text in targets]
    places = sum(len(one) * len(other) for one, other in zip(given, written, strict=True))
    step = max(1, -(-places // MOST_PLACES))
    given, written = given[::step], written[::step]
    known, wanted = ({word: at for at, word in enumerate(sorted({*_all(side)}))} for side in (given, written))
    if not known or not wanted:
        return {}
    source_M, target_M, occurrence_M = _places(given, written, known, wanted)
    codes, pair_M = np.unique(source_M * len(wanted) + target_M, return_inverse=True)
    share_P = _shares(codes // len(wanted), pair_M, occurrence_M)
    return _likeliest(codes, share_P, list(known), list(wanted))


def _all(side: Sequence[Sequence[str]]) -> list[str]:
    return [word for text in side for word in text]


def _places(
    given: Sequence[Sequence[str]],
    written: Sequence[Sequence[str]],
    known: Mapping[str, int],
    wanted: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) each: the source's word, the target's word, and the number of that occurrence of the target's word."""
    sources, targets, occurrences, before = [], [], [], 0
    for one, other in zip(given, written, strict=True):
        sources.append(np.tile([known[word] for word in one], len(other)))
        targets.append(np.repeat(np.array([wanted[word] for word in other], dtype=np.int64), len(one)))
        occurrences.append(np.repeat(np.arange(before, before + len(other)), len(one)))
        before += len(other)
    return tuple(np.concatenate(part).astype(np.int64) for part in (sources, targets, occurrences))  # type: ignore[return-value]


def _shares(source_P: np.ndarray, pair_M: np.ndarray, occurrence_M: np.ndarray) -> np.ndarray:
    """(P,): the probability of the target's word of each pair, given the source's."""
    share_P = np.ones(len(source_P))
    for _ in range(ROUNDS):
        weight_M = share_P[pair_M]
        weight_M /= np.bincount(occurrence_M, weights=weight_M)[occurrence_M]
        expected_P = np.bincount(pair_M, weights=weight_M, minlength=len(source_P))
        share_P = expected_P / np.bincount(source_P, weights=expected_P)[source_P]
    return share_P


def _likeliest(codes: np.ndarray, share_P: np.ndarray, known: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    source_P, target_P = codes // len(wanted), codes % len(wanted)
    order = np.lexsort((target_P, -share_P, source_P))  # of equal shares the first in the alphabet
    first = order[np.unique(source_P[order], return_index=True)[1]]
    return {known[source_P[at]]: wanted[target_P[at]] for at in first if known[source_P[at]] != NONE}


def translated(source: str, words: Mapping[str, str]) -> str:
    """The source with a word for each of its words; those that the dictionary lacks, and other signs, stay."""
    text = _WORD.sub(lambda found: words.get(found[0].lower(), found[0]), source)
    return text[:1].upper() + text[1:] if source[:1].isupper() else text
