"""A Unigram vocabulary learned from words: the same words give the same pieces and scores, in any process.

The trainer of the library tokenizers gives others in each run, as its hash tables decide ties. This one is
sentencepiece's algorithm on sorted arrays. It begins with many pieces; then, in turns, each gets its probability by
expectation and maximization, and the quarter of them that the words miss least is thrown away.

    words    ▁sea x9  ▁seas x4          seeds   ▁ s e a ▁s se ea ... ▁sea ▁seas
    EM       how often each piece is used, over all ways to write each word
    pruning  ▁seas goes where ▁sea + s writes its words at little cost

Source: Kudo 2018, arXiv:1804.10959, section 3.2; sentencepiece's unigram_model_trainer.cc.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import digamma

BLANK = "▁"  # stands before a word
LONGEST = 16  # characters of a piece
WORDS = 200_000  # distinct ones, the commonest, that are learned from
WORD = 64  # characters: longer words are learned from in parts
SEEDS = 10  # times the size that is wanted: so many pieces at the start
COVERED = 0.9995  # share of the characters whose letters are pieces; bytes write the others
KEPT = 0.75  # of the pieces, at most so many are left by a pruning
ROUNDS = 2  # of expectation and maximization before each
FEW = 0.5  # a piece that is expected less often is dropped
DIGITS = 6  # of a score: more would hang on the machine's mathematics


class Ways(NamedTuple):
    """All ways to write some words: an edge for each place in a word where a piece stands. Sorted by `end`."""

    word: np.ndarray
    """(E,) the word's number."""
    start: np.ndarray
    """(E,) the character, from 0, at which the piece begins."""
    end: np.ndarray
    """(E,) the character behind it."""
    piece: np.ndarray
    """(E,) the piece's number."""


def letters_of(words: Mapping[str, int], *, covered: float = COVERED) -> list[str]:
    """The letters that make up the share `covered` of the characters of the words, which have counts; sorted."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    left, found = covered * sum(counts.values()), []
    for letter, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if left <= 0:
            break
        found.append(letter)
        left -= count
    return sorted(found)


def learn_pieces(words: Mapping[str, int], size: int, *, covered: float = COVERED) -> list[tuple[str, float]]:
    """At most `size` pieces of the words, which have counts, with their scores in nats, the likeliest first.

    All `letters_of` the words are among them. Raises ValueError where `size` is less than they are.
    """
    letters = letters_of(words, covered=covered)
    if size < len(letters):
        raise ValueError(f"{size} pieces are fewer than the {len(letters)} letters of the words")
    known = set(letters)
    parts = Counter[str]()
    for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0]))[:WORDS]:
        for at in range(0, len(word), WORD):
            for part in _of_letters(word[at : at + WORD], known):
                parts[part] += count
    texts = sorted(parts)
    counts = np.array([parts[text] for text in texts], dtype=np.float64)
    pieces, weights = _seeds(texts, counts, letters, SEEDS * size)
    fixed = np.array([len(piece) == 1 for piece in pieces], dtype=bool)
    scores = np.log(weights / weights.sum())
    ways, inner = _ways(texts, pieces), _ways(pieces, pieces)
    inner = _some(inner, inner.end - inner.start < _lengths(pieces)[inner.word])  # no piece is made of itself
    alive = np.ones(len(pieces), dtype=bool)
    while True:
        for _ in range(ROUNDS):
            used = _expected(ways, scores, counts, len(pieces))
            alive &= fixed | (used >= FEW)
            ways, inner = _some(ways, alive[ways.piece]), _some(inner, alive[inner.piece] & alive[inner.word])
            scores = _scores(np.where(alive, used, 0.0), fixed)
        if (left := int(alive.sum())) <= size:
            break
        alive = _pruned(alive, fixed, inner, scores, used, max(size, int(left * KEPT)))
        ways, inner = _some(ways, alive[ways.piece]), _some(inner, alive[inner.piece] & alive[inner.word])
    found = [(pieces[number], round(float(scores[number]), DIGITS)) for number in np.flatnonzero(alive)]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def _of_letters(word: str, letters: set[str]) -> Iterable[str]:
    """The parts of the word between characters that are no pieces."""
    start = 0
    for at, letter in enumerate(word):
        if letter not in letters:
            if at > start:
                yield word[start:at]
            start = at + 1
    if start < len(word):
        yield word[start:]


def _seeds(texts: Sequence[str], counts: np.ndarray, letters: Sequence[str], most: int) -> tuple[list[str], np.ndarray]:
    """The letters, and the parts of one kind that cover most characters, sorted; how many characters each covers."""
    found: Counter[str] = Counter()
    for text, count in zip(texts, counts.tolist(), strict=True):
        kinds = [_kind(letter) for letter in text]
        for start in range(len(text)):
            first = start + (text[start] == BLANK)
            for end in range(start + 2, min(start + LONGEST, len(text)) + 1):
                if kinds[end - 1] != kinds[first]:
                    break
                found[text[start:end]] += count
    covers = sorted(((-count * len(part), part) for part, count in found.items() if count >= 2))[:most]
    of_letters = Counter[str](dict.fromkeys(letters, 0))
    for text, count in zip(texts, counts.tolist(), strict=True):
        for letter in text:
            of_letters[letter] += count
    weights = {**of_letters, **{part: -cover for cover, part in covers}}
    pieces = sorted(weights)
    return pieces, np.array([weights[piece] for piece in pieces], dtype=np.float64)


def _kind(letter: str) -> str:
    """A letter's kind: no piece has several, so that a full stop is no part of a word. ▁ goes before any."""
    if letter.isalpha() or unicodedata.combining(letter):
        return "letter"
    return "digit" if letter.isdigit() else "other"


def _ways(texts: Sequence[str], pieces: Sequence[str]) -> Ways:
    number = {piece: at for at, piece in enumerate(pieces)}
    edges = array("i")  # four numbers an edge: there may be ten million
    for at, text in enumerate(texts):
        for start in range(len(text)):
            for end in range(start + 1, min(start + LONGEST, len(text)) + 1):
                if (piece := number.get(text[start:end])) is not None:
                    edges.extend((end, at, start, piece))
    found = np.array(edges, dtype=np.int32).reshape(-1, 4)
    found = found[np.lexsort((found[:, 2], found[:, 1], found[:, 0]))]
    return Ways(found[:, 1], found[:, 2], found[:, 0], found[:, 3])


def _some(ways: Ways, chosen: np.ndarray) -> Ways:
    return Ways(*(column[chosen] for column in ways))


def _lengths(texts: Sequence[str]) -> np.ndarray:
    return np.array([len(text) for text in texts], dtype=np.int64)


def _groups(keys: np.ndarray) -> np.ndarray:
    """Where each run of equal keys begins."""
    return np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """log sum exp of each run of values in nats."""
    most = np.maximum.reduceat(values, starts)
    runs = np.diff(np.append(starts, len(values)))
    return most + np.log(np.add.reduceat(np.exp(values - np.repeat(most, runs)), starts))


def _expected(ways: Ways, scores: np.ndarray, counts: np.ndarray, n_pieces: int) -> np.ndarray:
    """(n_pieces,): how often each piece is used in the words, over all ways to write them."""
    n_words, longest = len(counts), int(ways.end.max(initial=0))
    ahead = np.full((n_words, longest + 1), -np.inf)
    ahead[:, 0] = 0.0
    price = scores[ways.piece]
    bounds = np.searchsorted(ways.end, np.arange(longest + 2))
    for end in range(1, longest + 1):
        at = slice(bounds[end], bounds[end + 1])
        if at.start < at.stop:
            word = ways.word[at]
            starts = _groups(word)
            ahead[word[starts], end] = _sums(ahead[word, ways.start[at]] + price[at], starts)
    ends = np.zeros(n_words, dtype=np.int64)
    np.maximum.at(ends, ways.word, ways.end)
    behind = np.full((n_words, longest + 1), -np.inf)
    behind[np.arange(n_words), ends] = 0.0
    order = np.lexsort((ways.end, ways.word, ways.start))
    by_start = np.searchsorted(ways.start[order], np.arange(longest + 1))
    for start in range(longest - 1, -1, -1):
        some = order[by_start[start] : by_start[start + 1]]
        if len(some):
            word = ways.word[some]
            starts = _groups(word)
            behind[word[starts], start] = _sums(behind[word, ways.end[some]] + price[some], starts)
    whole = ahead[np.arange(n_words), ends]
    likely = ahead[ways.word, ways.start] + price + behind[ways.word, ways.end] - whole[ways.word]
    return np.bincount(ways.piece, weights=np.exp(likely) * counts[ways.word], minlength=n_pieces)


def _scores(used: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Nats of each piece; -inf of one that is not used. Letters are never priced out: each counts FEW at least."""
    counted = np.where(fixed, np.maximum(used, FEW), used)
    held = counted > 0
    scores = np.full(len(used), -np.inf)
    scores[held] = digamma(counted[held]) - digamma(counted.sum())
    return scores


def _pruned(
    alive: np.ndarray, fixed: np.ndarray, inner: Ways, scores: np.ndarray, used: np.ndarray, size: int
) -> np.ndarray:
    """Which pieces are left: the letters, and those without which words would lose most likelihood."""
    best = np.full((len(alive), LONGEST + 1), -np.inf)
    best[:, 0] = 0.0
    bounds = np.searchsorted(inner.end, np.arange(LONGEST + 2))
    for end in range(1, LONGEST + 1):
        at = slice(bounds[end], bounds[end + 1])
        if at.start < at.stop:
            word = inner.word[at]
            starts = _groups(word)
            prices = best[word, inner.start[at]] + scores[inner.piece[at]]
            best[word[starts], end] = np.maximum.reduceat(prices, starts)
    ends = np.zeros(len(alive), dtype=np.int64)
    np.maximum.at(ends, inner.word, inner.end)
    otherwise = best[np.arange(len(alive)), ends]
    loss = np.where(fixed, np.inf, used * np.where(alive, scores - otherwise, 0.0))
    loss = np.where(alive, loss, -np.inf)
    left = np.lexsort((np.arange(len(alive)), -loss))[:size]  # of equal losses the first in order
    kept = np.zeros(len(alive), dtype=bool)
    kept[left] = True
    return kept & alive
