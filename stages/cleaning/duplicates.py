"""Duplicates: exact ones by a key blind to case, punctuation and invisible characters; near ones by MinHash.

Keys whose sets of character 5-grams have a Jaccard similarity of at least the threshold are near-duplicates.
MinHash (in Daft) and banding propose pairs, the true similarity decides, connected components make groups.
Nothing hangs on the order of rows, on partitions or on threads.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import daft
import numpy as np
import pyarrow as pa
from daft import col, lit
from daft.functions import length, minhash, regexp_replace, replace, strip, when
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stages.cleaning.rules import invisible_characters

SHINGLE = 5  # characters
HASHES = 128
SEED = 1  # of the permutations; the true similarity decides, so it is no parameter
RECALL = 0.99  # the share of pairs at the threshold that banding must propose
WINDOW = 16  # a key is compared with so many neighbours in its bucket: a template costs no square of its rows
SLACK = 0.2  # signatures whose agreement is this far below the threshold (5 standard errors) are not looked at
CHUNK = 100_000  # pairs whose signatures are compared at once


@daft.func.batch(return_dtype=daft.DataType.string(), use_process=False)
def _folded(texts: daft.Series) -> pa.Array:
    return pa.array([None if text is None else _fold(text) for text in texts.to_pylist()], pa.large_string())


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def comparison_key(text: daft.Expression) -> daft.Expression:
    """What two texts are compared by: letters, marks and digits, case-folded, with single spaces between.

    A text without any letter or digit (emoji) is its own key.
    """
    folded = _folded(invisible_characters(text))
    key = strip(regexp_replace(folded, r"[^\p{L}\p{M}\p{N}]+", " "))
    return when(length(key) > lit(0), key).otherwise(folded)


def near_duplicate_groups(keys: Sequence[str], *, jaccard: float) -> np.ndarray:
    """A group number (N,) for each of N distinct keys: near-duplicates share it, directly or through others.

    `jaccard` in [0.5, 1] is the least similarity of two keys' sets of character 5-grams; 1 turns this off.
    """
    count = len(keys)
    if jaccard >= 1 or count < 2:
        return np.arange(count)
    order = sorted(range(count), key=keys.__getitem__)
    ordered = [keys[position] for position in order]
    left, right = _similar_pairs(ordered, jaccard)
    links = coo_matrix((np.ones(len(left), dtype=bool), (left, right)), shape=(count, count))
    groups = np.empty(count, dtype=np.int64)
    groups[order] = connected_components(links, directed=False)[1]
    return groups


def _similar_pairs(keys: Sequence[str], jaccard: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the two keys of each pair whose true similarity reaches the threshold."""
    long_enough = np.array([at for at, key in enumerate(keys) if len(key) >= SHINGLE], dtype=np.int64)
    if len(long_enough) < 2:
        return long_enough[:0], long_enough[:0]
    signatures = _signatures([keys[at] for at in long_enough])
    proposed = np.unique(np.concatenate([*_proposals(signatures, jaccard)]))
    pairs = long_enough[np.stack(np.divmod(proposed, len(signatures)), axis=1)]
    shingles = {at: _shingles(keys[at]) for at in np.unique(pairs)}
    similar = np.array([_jaccard(shingles[a], shingles[b]) >= jaccard for a, b in pairs], dtype=bool)
    return pairs[similar, 0], pairs[similar, 1]


def _signatures(keys: Sequence[str]) -> np.ndarray:
    """MinHashes (N, HASHES), uint32, of the keys' character 5-grams."""
    letters = regexp_replace(replace(col("key"), " ", "_"), r"(.)", "$1 ")  # Daft's n-grams are of words
    hashes = minhash(letters, num_hashes=HASHES, ngram_size=SHINGLE, seed=SEED)
    frame = daft.from_arrow(pa.table({"at": np.arange(len(keys)), "key": pa.array(keys, pa.large_string())}))
    table = frame.select(col("at"), hashes.alias("hashes")).to_arrow().combine_chunks()
    flat = table["hashes"].chunk(0).flatten().to_numpy()
    return flat.reshape(len(keys), HASHES)[np.argsort(table["at"].to_numpy())]


def rows_per_band(jaccard: float) -> int:
    """The most rows a band may have, so that RECALL of the pairs at the threshold agree in a band."""
    fits = [r for r in range(1, HASHES + 1) if 1 - (1 - jaccard**r) ** (HASHES // r) >= RECALL]
    return max(fits)


def _proposals(signatures: np.ndarray, jaccard: float) -> Iterator[np.ndarray]:
    """Pairs of positions, as smaller * N + larger (P,), that agree in a band and in enough hashes."""
    rows = rows_per_band(jaccard)
    multipliers = np.random.default_rng(SEED).integers(2**63, size=rows, dtype=np.uint64) | np.uint64(1)
    for start in range(0, HASHES - rows + 1, rows):
        buckets = signatures[:, start : start + rows].astype(np.uint64) @ multipliers
        order = np.argsort(buckets, kind="stable")
        pairs = np.sort(_neighbours(order, buckets[order]), axis=1)
        for at in range(0, len(pairs), CHUNK):
            some = pairs[at : at + CHUNK]
            agreement = (signatures[some[:, 0]] == signatures[some[:, 1]]).mean(axis=1)
            yield some[agreement >= jaccard - SLACK] @ np.array([len(signatures), 1])
    yield np.empty(0, dtype=np.int64)


def _neighbours(order: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) at most WINDOW apart in a bucket, whose keys stand in alphabetical order."""
    pairs = []
    for step in range(1, min(WINDOW, len(order) - 1) + 1):
        same = buckets[step:] == buckets[:-step]
        if not same.any():
            break
        pairs.append(np.stack([order[:-step][same], order[step:][same]], axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)


def _shingles(key: str) -> frozenset[str]:
    return frozenset(key[at : at + SHINGLE] for at in range(len(key) - SHINGLE + 1))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
