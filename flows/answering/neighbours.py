"""The training rows nearest to some texts, by TF-IDF; in memory that does not grow with the training rows.

The rows are read three times, some thousand at once: to count in how many each word stands, to compare them, and for
the texts of those found. Words are hashed, so that a vocabulary needs no room. E texts, F features, B rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

from stages.reading.clean_rows import TEXT_PAIR
from stages.tasks.shared.words import WORDS_WORK, words_reach

FEATURES = 1 << 20
ROWS = 8192  # of the file, read at once
COMPARED = 4_000_000  # numbers of a block of similarities


class Near(NamedTuple):
    """A training row."""

    row_id: str
    text: str
    truth: str
    similarity: float
    """The cosine of its TF-IDF vector with that of the text, in [0, 1]."""


def nearest(clean: Path, texts: Sequence[str], count: int) -> list[list[Near]]:
    """For each text the `count` training rows that are nearest to it, the nearest first; none that shares no word.

    Of equally near rows the first. A pair of texts is both, with a space between.
    """
    if not texts or not count:
        return [[] for _ in texts]
    counts = _counts(texts)
    rows, df_F = 0, np.zeros(FEATURES)
    for batch in _training(clean):
        found = counts(whole(batch))
        rows += found.shape[0]
        df_F += np.bincount(found.indices, minlength=FEATURES)
    idf_F = np.log((1 + rows) / (1 + df_F)) + 1
    best = _Best(len(texts), count)
    texts_EF = _weighted(counts(texts), idf_F)
    for batch in _training(clean):
        best.add(texts_EF, _weighted(counts(whole(batch)), idf_F))
    return best.rows(_training(clean))


def _counts(texts: Sequence[str]) -> Callable[[Sequence[str]], csr_matrix]:
    """counts(texts): (N, FEATURES), how often each has a word; or three characters, where words carry little."""
    is_words = words_reach(texts) >= WORDS_WORK
    how: dict[str, Any] = {"analyzer": "word"} if is_words else {"analyzer": "char_wb", "ngram_range": (1, 3)}
    return HashingVectorizer(n_features=FEATURES, alternate_sign=False, norm=None, **how).transform


def _weighted(counts_NF: csr_matrix, idf_F: np.ndarray) -> csr_matrix:
    """(1 + ln tf) times idf, each row of length 1."""
    counts_NF.data = (1 + np.log(counts_NF.data)) * idf_F[counts_NF.indices]
    return normalize(counts_NF, copy=False)


def _training(clean: Path) -> Iterator[pa.Table]:
    """The training rows, some at once, in their order."""
    with pq.ParquetFile(clean) as file:
        names = ["row_id", "text", "label", "split"]
        pair = [TEXT_PAIR] if TEXT_PAIR in file.schema_arrow.names else []
        for batch in file.iter_batches(ROWS, columns=[*names, *pair]):
            table = pa.Table.from_batches([batch])
            if len(rows := table.filter(pc.equal(table["split"], "train"))):
                yield rows


def whole(rows: pa.Table) -> list[str]:
    """The text of each row; of pairs both texts, a space between."""
    texts = rows["text"].to_pylist()
    if TEXT_PAIR not in rows.column_names:
        return texts
    return [f"{text} {other}" for text, other in zip(texts, rows[TEXT_PAIR].to_pylist(), strict=True)]


class _Best:
    """The nearest rows that were seen."""

    def __init__(self, texts: int, count: int) -> None:
        self._near_Ek = np.zeros((texts, count))
        self._row_Ek = np.full((texts, count), -1)
        self._seen = 0

    def add(self, texts_EF: csr_matrix, rows_BF: csr_matrix) -> None:
        """Compare further rows with all texts, a block at a time."""
        at_once = max(1, COMPARED // len(self._near_Ek))
        for start in range(0, rows_BF.shape[0], at_once):
            block = rows_BF[start : start + at_once]
            self._add((texts_EF @ block.T).toarray())
            self._seen += block.shape[0]

    def _add(self, near_EB: np.ndarray) -> None:
        count = self._near_Ek.shape[1]
        row_EB = np.broadcast_to(np.arange(near_EB.shape[1]) + self._seen, near_EB.shape)
        near, row = np.hstack([self._near_Ek, near_EB]), np.hstack([self._row_Ek, row_EB])
        order = np.argsort(-near, axis=1, kind="stable")[:, :count]  # of equals the first
        self._near_Ek, self._row_Ek = (np.take_along_axis(of, order, axis=1) for of in (near, row))

    def rows(self, training: Iterator[pa.Table]) -> list[list[Near]]:
        """Those rows, read again."""
        wanted = {int(row) for row in self._row_Ek[self._near_Ek > 0]}
        found: dict[int, tuple[str, str, str]] = {}
        seen = 0
        for batch in training:
            inside = sorted(row - seen for row in wanted if seen <= row < seen + len(batch))
            own = batch.take(pa.array(inside, pa.int64()))
            parts = zip(own["row_id"].to_pylist(), whole(own), own["label"].to_pylist(), strict=True)
            found |= {seen + place: row for place, row in zip(inside, parts, strict=True)}
            seen += len(batch)
        return [
            [Near(*found[int(row)], round(float(near), 4)) for near, row in zip(*own, strict=True) if near > 0]
            for own in zip(self._near_Ek, self._row_Ek, strict=True)
        ]
