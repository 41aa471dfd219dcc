"""How similar an image and a text are, and what the measures are counted from. N rows, K numbers of a vector.

An answer is "0.81, text 3, image 1": the cosine, how many texts are nearer to the image, plus one, and how many images
are nearer to the text, plus one. S = 7 counts of each row:

    1, text rank 1 or not, 5 or less or not, 10 or less or not, and the same of the image's rank
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DEPTHS = (1, 5, 10)
NEARLY = 0.05  # between cosines that differ by no more
DECIMALS = 2  # of a similarity in an answer, by which nothing is measured
TEXT, IMAGE = ", text ", ", image "


class Found(NamedTuple):
    """An answer."""

    similarity: float
    text_rank: int
    image_rank: int

    def as_text(self) -> str:
        """Its canonical text."""
        return f"{round(self.similarity, DECIMALS) + 0.0:g}{TEXT}{self.text_rank}{IMAGE}{self.image_rank}"


def from_text(answer: str) -> Found:
    """The answer that such a text is of."""
    similarity, _, ranks = answer.partition(TEXT)
    text, _, image = ranks.partition(IMAGE)
    return Found(float(similarity), int(text), int(image))


def ranks_of(answers: Sequence[str]) -> np.ndarray:
    """(N, 2) int64: the ranks of each row's text and image."""
    found = [from_text(answer) for answer in answers]
    return np.array([(one.text_rank, one.image_rank) for one in found], dtype=np.int64).reshape(-1, 2)


def similarity(values_N2K: np.ndarray) -> np.ndarray:
    """(N,) float64: the cosine of the two vectors of each row."""
    lengths_N = np.linalg.norm(values_N2K.astype(np.float64), axis=-1).prod(-1)
    products_N = np.einsum("nk,nk->n", values_N2K[:, 0], values_N2K[:, 1], dtype=np.float64)
    return np.divide(products_N, lengths_N, out=np.zeros_like(products_N), where=lengths_N > 0)


def counts_of(ranks_N2: np.ndarray) -> csr_array:
    """(N, 7) float64: what each row adds."""
    from scipy.sparse import csr_array  # not where a model is only opened

    within = [ranks_N2[:, side] <= depth for side in (0, 1) for depth in DEPTHS]
    return csr_array(np.column_stack([np.ones(len(ranks_N2)), *within]).astype(np.float64))


def mean_of(*places: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function of sums (R, S): the mean over the rows of what they add at these places, (R,)."""

    def mean(sums_RS: np.ndarray) -> np.ndarray:
        sums = np.asarray(sums_RS)
        of_rows: np.ndarray = sums[:, list(places)].mean(1) / np.maximum(sums[:, 0], 1)
        return of_rows

    return mean


PLACES: dict[str, tuple[int, ...]] = {
    **{f"recall_at_{depth}": (1 + at, 4 + at) for at, depth in enumerate(DEPTHS)},
    **{f"text_recall_at_{depth}": (1 + at,) for at, depth in enumerate(DEPTHS)},
    **{f"image_recall_at_{depth}": (4 + at,) for at, depth in enumerate(DEPTHS)},
}
"""Where the counts of each measure are: of texts that images find, of images that texts find, and of both."""


def scores_of(ranks_N2: np.ndarray) -> dict[str, float]:
    """Each measure, of all rows together."""
    sums = np.asarray(counts_of(ranks_N2).sum(0)).reshape(1, -1)
    return {name: float(mean_of(*places)(sums)[0]) for name, places in PLACES.items()}
