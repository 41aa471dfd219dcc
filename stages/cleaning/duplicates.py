"""Near-duplicates: texts whose sets of character 5-grams overlap by at least the threshold, by Jaccard.

MinHash (in Daft) and banding propose pairs, the true similarity decides, connected components make groups.
Nothing hangs on the order of rows, on partitions or on threads. Of each text only its bands and a byte of each hash are
held; pairs are judged a chunk at a time, and none whose texts are in one group already, so that neither memory nor time
grows with the square of a template's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
WINDOW = 16  # a key is compared with so many neighbours in its bucket: a template costs no square of its rows
SLACK = 0.2  # signatures whose agreement is this far below the threshold (4 standard errors) are not looked at
CHUNK = 100_000  # pairs whose signatures are compared at once
JUDGED = 1 << 10  # pairs whose shingles are held at once


def near_duplicate_groups(
    keys: Sequence[str] | pa.Array, *, jaccard: float, compared: np.ndarray | None = None
) -> np.ndarray:
    """A group number below N (N,) for each of N distinct keys: near-duplicates share it, directly or through others.

    `jaccard` in [0.5, 1] is the least similarity of two keys' sets of character 5-grams; 1 turns this off.
    `compared` (N,) says which keys are compared at all; without it all are.
    """
    groups = np.arange(len(keys))
    texts = pa.array(keys, pa.large_string())
    chosen = pc.utf8_length(texts).to_numpy() >= SHINGLE
    if compared is not None:
        chosen &= compared
    if jaccard >= 1 or chosen.sum() < 2:
        return groups
    in_order = pc.all(pc.less_equal(texts[:-1], texts[1:])).as_py()  # as `clean` gives them
    order = np.arange(len(texts)) if in_order else pc.sort_indices(texts).to_numpy()
    order = order[chosen[order]]
    buckets, marks = _sketches(texts, jaccard)
    for left, right in _proposals(buckets, order):
        for at in range(0, len(left), CHUNK):
            _join_similar(groups, left[at : at + CHUNK], right[at : at + CHUNK], marks, texts, jaccard)
    return _roots(groups, groups)


def alike(keys: pa.Array, *, jaccard: float, compared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each of K distinct keys its group (K,) of near-duplicates, and its group (K,) of those that a split of the
    data must not part; both are numbers below K.

    Pairs are near-duplicates where their first texts are the same or nearly, and their second ones too: the same
    premise with another hypothesis is another pair. Splits must not part (a, b) from (b, a) either.
    """
    texts = texts_of(keys)
    if len(texts) == 1:
        groups = near_duplicate_groups(keys, jaccard=jaccard, compared=compared)
        return groups, groups
    distinct = pc.dictionary_encode(pa.concat_arrays(texts))
    places = distinct.indices.to_numpy().reshape(2, len(keys))
    wanted = np.zeros(len(distinct.dictionary), dtype=bool)
    wanted[places[:, compared]] = True
    ends = near_duplicate_groups(distinct.dictionary, jaccard=jaccard, compared=wanted)[places]
    groups, kin = (
        _numbered(of_first * len(wanted) + of_second) for of_first, of_second in (ends, np.sort(ends, axis=0))
    )
    return groups, kin


def _numbered(values: np.ndarray) -> np.ndarray:
    """A number below K (K,) for each of K values, the same for the same ones."""
    return np.unique(values, return_inverse=True)[1]


def _join_similar(
    groups: np.ndarray, left: np.ndarray, right: np.ndarray, marks: np.ndarray, keys: pa.Array, jaccard: float
) -> None:
    """Make one of the groups of each pair whose true similarity reaches the threshold, where they are not one yet."""
    apart = _roots(groups, left) != _roots(groups, right)
    left, right = left[apart], right[apart]
    alike = (marks[left] == marks[right]).mean(axis=1) >= jaccard - SLACK
    left, right = left[alike], right[alike]
    for at in range(0, len(left), JUDGED):
        one, other = left[at : at + JUDGED], right[at : at + JUDGED]
        similar = _jaccards(keys.take(pa.array(one)), keys.take(pa.array(other))) >= jaccard
        _join(groups, one[similar], other[similar])


def _roots(groups: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The key that stands for the group of each key: each points at another of its group, that one at itself."""
    while not np.array_equal(above := groups[at], at):
        at = above
    return at


def _join(groups: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    roots, places = np.unique(_roots(groups, np.concatenate([left, right])), return_inverse=True)
    links = (np.ones(len(left), dtype=bool), (places[: len(left)], places[len(left) :]))
    component = connected_components(coo_matrix(links, shape=(len(roots), len(roots))), directed=False)[1]
    groups[roots] = roots[np.unique(component, return_index=True)[1]][component]


def _sketches(keys: pa.LargeStringArray, jaccard: float) -> tuple[np.ndarray, np.ndarray]:
    """What is kept of the MinHashes of N keys: the bucket of each band (bands, N), and a byte of each hash (N, ...)."""
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
    """A space after each character, and `_` for each space that was there: Daft's n-grams are of words."""
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
    """Bands, and hashes a band: the most with which RECALL of the pairs at the threshold agree in a band."""
    for rows in range(HASHES, 0, -1):
        bands = int(np.ceil(np.log(1 - RECALL) / np.log1p(-(jaccard**rows))))
        if bands * rows <= HASHES:
            return bands, rows
    raise AssertionError(jaccard)


def _proposals(buckets: np.ndarray, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Keys that agree in a band, as two arrays; `order` is that of the keys by their letters.

    Each is paired with the next of its bucket, then with the one after that, up to WINDOW. Of a bucket's number the
    upper bits are compared (41 of five million keys'), and a key's place stands in the others: numbers are sorted
    several times faster than places by numbers.
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
    """The similarity (P,) of the sets of character 5-grams of each of P pairs, P at most JUDGED."""
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
