"""Near-duplicates: texts whose sets of character 5-grams overlap by at least the threshold, by Jaccard.

MinHash (in Daft) and banding propose pairs, and the true similarity decides. Two things are made of the pairs:

- groups, which are near-duplicates directly or through others: no split parts them;
- the rows that repeat another (`repeated`): each is a near-duplicate of a row that stays, and has its label. A chain of
  texts, each near the next, thus keeps every few links one:

      a - b - c - d      group: a b c d; b repeats a, d repeats c; a and c stay

Nothing depends on the order of rows, partitions or threads. Of each text only its bands and a byte of each hash are
held; pairs are judged a chunk at a time, and for the groups none whose texts are in one already, so that neither memory
nor time grows with the square of a template's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import daft
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from daft import col
from daft.functions import minhash
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stages.cleaning import frames
from stages.cleaning.keys import SLICE, as_strings, buffers, in_slices, texts_of

SHINGLE = 5  # characters
HASHES = 72  # at most
SEED = 1  # of the permutations; the true similarity decides, so it is no parameter
RECALL = 0.995  # the share of pairs at the threshold that banding must propose
WINDOW = 16  # neighbours in its bucket that a key is compared with: a template's cost is not quadratic in its rows
SLACK = 0.2  # signatures whose agreement is this far below the threshold (4 standard errors) are not looked at
CHUNK = 100_000  # pairs whose signatures are compared at once
JUDGED = 1 << 10  # pairs whose shingles are held at once
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: numbers times this and another number are as good as pairs of numbers


class Neighbours(NamedTuple):
    """The near-duplicate relations of K distinct keys, and of pairs of them."""

    groups: np.ndarray
    """(K,) group numbers below K: near-duplicates share one, directly or through others."""
    kin: np.ndarray
    """(K,) likewise, for keys that no split of the data may part."""
    candidates: Callable[[np.ndarray], np.ndarray]
    """candidates(keys_N): (bands, N) uint64; keys that may be near-duplicates have a number of a band in common."""
    near: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """near(left_P, right_P): (P,) whether the keys of each pair are near-duplicates."""
    swapped: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """For pairs of texts: whether (a, b) and (b, a) are near-duplicates; None for single texts."""


def neighbours(keys: pa.Array, *, jaccard: float, compared: np.ndarray) -> Neighbours:
    """The near-duplicate relations of K distinct keys; `compared` (K,) says which of them are compared at all.

    `jaccard` in [0.5, 1] is the least similarity of two keys' sets of character 5-grams; 1 turns this off.
    Pairs are near-duplicates where their first texts are the same or nearly, and their second ones too: the same
    premise with another hypothesis is another pair. Splits must not part (a, b) from (b, a) either.
    """
    texts = texts_of(keys)
    if len(texts) == 1:
        return _of_texts(keys, jaccard, compared)
    distinct = pc.dictionary_encode(pa.concat_arrays(texts))
    places = distinct.indices.to_numpy().reshape(2, len(keys))
    wanted = np.zeros(len(distinct.dictionary), dtype=bool)
    wanted[places[:, compared]] = True
    of_texts = _of_texts(distinct.dictionary, jaccard, wanted)
    ends = of_texts.groups[places]
    groups, kin = (
        _numbered(of_first * len(wanted) + of_second) for of_first, of_second in (ends, np.sort(ends, axis=0))
    )

    def near(left: np.ndarray, right: np.ndarray, *, first: int = 0) -> np.ndarray:
        found = of_texts.near(places[0][left], places[first][right])
        found[found] = of_texts.near(places[1][left[found]], places[1 - first][right[found]])
        return found

    def candidates(of: np.ndarray) -> np.ndarray:
        """The bands of either text, each with the group of the other."""
        bands = [
            of_texts.candidates(places[place][of]) * _MIX + ends[1 - place][of].astype(np.uint64) for place in (0, 1)
        ]
        return np.concatenate(bands)

    return Neighbours(groups, kin, candidates, near, lambda one, other: near(one, other, first=1))


def _of_texts(keys: pa.Array, jaccard: float, compared: np.ndarray) -> Neighbours:
    texts = pa.array(keys, pa.large_string())
    groups = np.arange(len(texts))
    chosen = compared & (pc.utf8_length(texts).to_numpy() >= SHINGLE)
    if jaccard >= 1 or chosen.sum() < 2:
        return Neighbours(groups, groups, lambda of: of[None].astype(np.uint64), lambda left, right: left == right)
    in_order = pc.all(pc.less_equal(texts[:-1], texts[1:])).as_py()  # as `clean` gives them
    order = np.arange(len(texts)) if in_order else pc.sort_indices(texts).to_numpy()
    order = order[chosen[order]]
    buckets, marks = _sketches(texts, jaccard)
    for left, right in _proposals(buckets, order):
        for at in range(0, len(left), CHUNK):
            _join_similar(groups, left[at : at + CHUNK], right[at : at + CHUNK], marks, texts, jaccard)
    groups = _roots(groups, groups)
    several = np.flatnonzero(np.bincount(groups, minlength=len(groups))[groups] > 1)
    return Neighbours(groups, groups, *_pairs(texts, several, buckets[:, several], marks[several], jaccard))


def _pairs(
    texts: pa.LargeStringArray, at: np.ndarray, buckets: np.ndarray, marks: np.ndarray, jaccard: float
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """`candidates` and `near`, made from the sketches of the keys `at`, which are those that have any neighbour."""

    def candidates(keys: np.ndarray) -> np.ndarray:
        if len(at) == 0:
            return keys[None].astype(np.uint64)
        places = np.minimum(np.searchsorted(at, keys), len(at) - 1)
        return np.where(at[places] == keys, buckets[:, places], keys.astype(np.uint64))

    def near(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        found = left == right
        maybe = np.flatnonzero(~found)
        if len(at) == 0:
            return found
        places = [np.minimum(np.searchsorted(at, keys[maybe]), len(at) - 1) for keys in (left, right)]
        known = (at[places[0]] == left[maybe]) & (at[places[1]] == right[maybe])
        maybe, one, other = maybe[known], places[0][known], places[1][known]
        maybe = maybe[_agree(marks, one, other, jaccard)]
        for start in range(0, len(maybe), JUDGED):
            some = maybe[start : start + JUDGED]
            found[some] = _jaccards(texts.take(pa.array(left[some])), texts.take(pa.array(right[some]))) >= jaccard
        return found

    return candidates, near


def _agree(marks: np.ndarray, one: np.ndarray, other: np.ndarray, jaccard: float) -> np.ndarray:
    """(P,) whether the signatures of each pair are similar enough for their texts to be compared."""
    return (marks[one] == marks[other]).mean(axis=1) >= jaccard - SLACK


def repeated(known: Neighbours, key: np.ndarray, label: np.ndarray, spared: np.ndarray) -> np.ndarray:
    """(N,) the row that each of N rows repeats, the preferred rows coming first; -1 where a row stays.

    A row repeats one that stays, is a near-duplicate of it, and has its label. Rows that are `spared` (N,) stay. In
    each turn the rows that are first in all of their buckets stay, and take those of their buckets that are near them.
    Rows in an order that has nothing to do with their texts, as that of row ids, take few turns:

        buckets  b1: 0 2 5   b2: 1 2   b3: 2 5      turn 1: 0 and 1 stay and are compared with 2 and 5; turn 2: ...
    """
    repeats = np.full(len(key), -1)
    together = _numbered(known.groups[key] * (int(label.max(initial=0)) + 1) + label)
    if len(together) == 0:
        return repeats
    may_go = np.bincount(together, weights=~spared)[together] > 0
    rows = np.flatnonzero((np.bincount(together)[together] > 1) & may_go)
    if len(rows) == 0:
        return repeats
    buckets = known.candidates(key[rows]) * _MIX + together[rows].astype(np.uint64)
    tries = np.zeros(buckets.shape, dtype=np.uint8)
    left = np.arange(len(rows))
    while len(left):
        first = np.stack([_firsts(of_band[left]) for of_band in buckets])
        own = np.arange(len(left))
        first = np.where(tries[:, left] < WINDOW, first, own)
        stays = (first == own).all(axis=0)
        band, at = np.nonzero((stays | spared[rows[left]])[first] & (first != own))
        tries[band, left[at]] += 1
        pairs = np.unique(at * len(left) + first[band, at])  # the one preferred comes first
        at, by = pairs // len(left), pairs % len(left)
        near = known.near(key[rows[left[by]]], key[rows[left[at]]]) & ~spared[rows[left[at]]]
        at, place = np.unique(at[near], return_index=True)
        repeats[rows[left[at]]] = rows[left[by[near][place]]]
        stays[at] = True  # is done with
        left = left[~stays]
    return repeats


def turned_round(known: Neighbours, key: np.ndarray, rows: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(len(rows),) for each pair (a, b) of `rows`, which of `held` (places in `key`) is nearly (b, a); -1: none."""
    found = np.full(len(rows), -1)
    if known.swapped is None:
        return found
    held = held[np.argsort(known.kin[key[held]], kind="stable")]
    begins, ends = (np.searchsorted(known.kin[key[held]], known.kin[key[rows]], side) for side in ("left", "right"))
    for step in range(WINDOW):
        at = np.flatnonzero((found < 0) & (begins + step < ends))
        of = held[begins[at] + step]
        found[at] = np.where(known.swapped(key[rows[at]], key[of]), of, -1)
    return found


def _firsts(buckets: np.ndarray) -> np.ndarray:
    """(N,) the first place at which the bucket of each occurs."""
    _, first, places = np.unique(buckets, return_index=True, return_inverse=True)
    return first[places]


def _numbered(values: np.ndarray) -> np.ndarray:
    """(K,) a number below K for each of K values; equal values have equal numbers."""
    return np.unique(values, return_inverse=True)[1]


def _join_similar(
    groups: np.ndarray, left: np.ndarray, right: np.ndarray, marks: np.ndarray, keys: pa.Array, jaccard: float
) -> None:
    """Merge the groups of each pair whose true similarity reaches the threshold, where they differ."""
    apart = _roots(groups, left) != _roots(groups, right)
    left, right = left[apart], right[apart]
    agree = _agree(marks, left, right, jaccard)
    left, right = left[agree], right[agree]
    for at in range(0, len(left), JUDGED):
        one, other = left[at : at + JUDGED], right[at : at + JUDGED]
        similar = _jaccards(keys.take(pa.array(one)), keys.take(pa.array(other))) >= jaccard
        _join(groups, one[similar], other[similar])


def _roots(groups: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The root of each key's group: each key points at another of its group, and the root at itself."""
    while not np.array_equal(above := groups[at], at):
        at = above
    return at


def _join(groups: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    roots, places = np.unique(_roots(groups, np.concatenate([left, right])), return_inverse=True)
    links = (np.ones(len(left), dtype=bool), (places[: len(left)], places[len(left) :]))
    component = connected_components(coo_matrix(links, shape=(len(roots), len(roots))), directed=False)[1]
    groups[roots] = roots[np.unique(component, return_index=True)[1]][component]


def _sketches(keys: pa.LargeStringArray, jaccard: float) -> tuple[np.ndarray, np.ndarray]:
    """Sketches of the MinHashes of N keys: the bucket of each band (bands, N), and one byte of each hash (N, ...)."""
    bands, rows = banding(jaccard)
    multipliers = np.random.default_rng(SEED).integers(2**63, size=rows, dtype=np.uint64) | np.uint64(1)
    hashes = minhash(_spaced(col("key")), num_hashes=bands * rows, ngram_size=SHINGLE, seed=SEED)
    frame = frames.of_table(pa.table({"at": np.arange(len(keys)), "key": keys}))
    buckets = np.empty((bands, len(keys)), dtype=np.uint64)
    marks = np.empty((len(keys), bands * rows), dtype=np.uint8)
    for batch in frame.select(col("at"), hashes.alias("hashes")).to_arrow_iter():
        at_all, flat = batch["at"].to_numpy(), batch["hashes"].flatten().to_numpy()
        for start in range(0, len(at_all), SLICE):
            at = at_all[start : start + SLICE]
            signatures = flat[start * bands * rows : (start + SLICE) * bands * rows].reshape(len(at), bands, rows)
            marks[at] = signatures.reshape(len(at), -1).astype(np.uint8)
            buckets[:, at] = (signatures.astype(np.uint64) @ multipliers).T
    return buckets, marks


@daft.func.batch(return_dtype=daft.DataType.string(), use_process=False)
def _spaced(keys: daft.Series) -> pa.Array:
    """The keys with a space after each character, and `_` for each space: Daft's n-grams are of words."""
    return in_slices(_with_spaces, keys.to_arrow())


def _with_spaces(keys: pa.LargeStringArray) -> pa.LargeStringArray:
    data, bounds = buffers(keys)
    data = np.frombuffer(data.tobytes().replace(b" ", b"_"), dtype=np.uint8)
    begins = (data & 0xC0) != 0x80  # a character; the other bytes go on with one
    if begins.all():
        spaced = np.full(2 * len(data), ord(" "), dtype=np.uint8)
        spaced[::2] = data
        return as_strings(spaced, 2 * bounds)
    begun = np.zeros(len(data) + 1, dtype=np.int64)
    np.cumsum(begins, out=begun[1:])
    spaced = np.full(len(data) + begun[-1], ord(" "), dtype=np.uint8)
    spaced[begun[1:] + np.arange(-1, len(data) - 1)] = data
    return as_strings(spaced, bounds + begun[bounds])


def banding(jaccard: float) -> tuple[int, int]:
    """Bands, and hashes in a band: the most at which RECALL of the pairs at the threshold agree in some band."""
    for rows in range(HASHES, 0, -1):
        bands = int(np.ceil(np.log(1 - RECALL) / np.log1p(-(jaccard**rows))))
        if bands * rows <= HASHES:
            return bands, rows
    raise AssertionError(jaccard)


def _proposals(buckets: np.ndarray, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of keys that agree in a band, as two arrays; `order` is that of the keys by their letters.

    Each is paired with the next of its bucket, then with the one after that, up to WINDOW. Of a bucket's number the
    upper bits are compared (41 for five million keys), and the others hold the key's place: sorting numbers is several
    times faster than sorting places by numbers.
    """
    low = np.uint64(len(order).bit_length())
    places = np.arange(len(order), dtype=np.uint64)
    for of_band in buckets:
        packed = of_band[order] >> low << low | places
        packed.sort()
        of_band, keys = packed >> low, order[(packed & ~(~np.uint64(0) << low)).astype(np.int64)]
        first = np.arange(len(keys))
        for step in range(1, WINDOW + 1):
            first = first[first + step < len(keys)]
            first = first[of_band[first] == of_band[first + step]]
            if len(first) == 0:
                break
            yield keys[first], keys[first + step]


def _jaccards(left: pa.LargeStringArray, right: pa.LargeStringArray) -> np.ndarray:
    """(P,) the Jaccard similarity of the sets of character 5-grams of each of P pairs, P at most JUDGED."""
    one, other = _shingles(left), _shingles(right)
    shift = np.uint64(_SHINGLE_BITS)
    shared = np.intersect1d(one, other, assume_unique=True)
    counts = [np.bincount((some >> shift).astype(np.int64), minlength=len(left)) for some in (one, other, shared)]
    return counts[2] / (counts[0] + counts[1] - counts[2])


_SHINGLE_BITS = 64 - (JUDGED - 1).bit_length()  # 54: two shingles of a text are taken for one in 1 of 10^12 texts
_PRIMES = np.array([0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5])


def _shingles(texts: pa.LargeStringArray) -> np.ndarray:
    """The distinct shingles of every text, sorted, as position << _SHINGLE_BITS | hash: uint64."""
    characters = np.frombuffer("".join(texts.to_pylist()).encode("utf-32-le"), dtype=np.uint32)
    lengths = pc.utf8_length(texts).to_numpy()
    count = len(characters) - SHINGLE + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for place, prime in enumerate(_PRIMES.astype(np.uint64)):
        hashes += characters[place : place + count] * prime
        hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0x94D049BB133111EB)
    owners = np.repeat(np.arange(len(texts)), lengths)
    whole = owners[:count] == owners[SHINGLE - 1 :]
    ids = (owners[:count][whole].astype(np.uint64) << np.uint64(_SHINGLE_BITS)) | (
        hashes[whole] >> np.uint64(64 - _SHINGLE_BITS)
    )
    ids.sort()
    return ids[np.concatenate([[True], ids[1:] != ids[:-1]])]
