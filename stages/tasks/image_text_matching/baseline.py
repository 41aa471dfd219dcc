"""The floor of images and texts: an image has the words of the training image that looks most like it; no pickle.

N rows, M training images, V n-grams, D numbers of a thumbnail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, csr_matrix
from sklearn.preprocessing import normalize

from stages.core.contracts import Image, Outputs, Space, Text
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared.ranking import ranks
from stages.tasks.shared.words import features, seen, vectorizer_of

if TYPE_CHECKING:
    from stages.core.params.baseline import BaselineParams

CELLS = 8  # of a thumbnail's side


def fit(texts: Sequence[Text], _targets: Sequence[str], _space: Space, params: BaselineParams, _seed: int) -> Linear:
    """The thumbnail of each distinct training image, and TF-IDF of all its texts together."""
    of_images: dict[Image, list[str]] = {}
    for pair in texts:
        image = pair[0]
        assert isinstance(image, Image)
        of_images.setdefault(image, []).append(pair[1])
    known = seen([" ".join(own) for own in of_images.values()], params.max_ngram)
    rows = csr_array(known.rows)
    weights = {
        "idf": known.idf,
        "thumbnails": thumbnails(list(of_images)).astype(np.float32),
        "data": rows.data,
        "indices": rows.indices.astype(np.int32),
        "indptr": rows.indptr.astype(np.int32),
    }
    return Linear(known.vocabulary, weights, known.settings)


def thumbnails(images: Sequence[Image]) -> np.ndarray:
    """(N, D): the mean colours of each image's cells, around its own mean, of length 1."""
    means_ND = np.stack([_cells(image.pixels) for image in images])
    return np.asarray(normalize(means_ND - means_ND.mean(1, keepdims=True)))


def _cells(pixels: np.ndarray) -> np.ndarray:
    """(D,) float64: the mean colours of the cells of an image of S x S pixels, (S, S, 3)."""
    side = len(pixels)
    edges = np.linspace(0, side, min(CELLS, side) + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float64), edges, axis=0), edges, axis=1)
    rows = np.diff([*edges, side])
    means: np.ndarray = sums / np.outer(rows, rows)[:, :, None]
    return means.ravel()


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(pairs): each row's similarity and its two ranks, (N, 1, 3); the ranks are among the rows given."""
    vectorizer = vectorizer_of(model)
    weights = model.weights
    shape = (len(weights["thumbnails"]), len(model.features))
    words_MV = csr_matrix((weights["data"], weights["indices"], weights["indptr"]), shape=shape)

    def predict(texts: Sequence[Text]) -> Outputs:
        if not texts:
            return Outputs(np.empty((0, 1, 3), dtype=np.float32))
        images, asked = [text[0] for text in texts], [text[1] for text in texts]
        looks_ND = thumbnails([image for image in images if isinstance(image, Image)])
        nearest_N = (looks_ND @ weights["thumbnails"].T.astype(np.float64)).argmax(1)
        of_images_NV = csr_array(words_MV[nearest_N])
        of_texts_NV = csr_array(features(asked, vectorizer))
        similar_N = np.asarray(of_images_NV.multiply(of_texts_NV).sum(1)).ravel()
        image_N, text_N = _codes(images), _codes(asked)
        text_rank_N = ranks(of_images_NV, of_texts_NV, image_N, text_N)
        image_rank_N = ranks(of_texts_NV, of_images_NV, text_N, image_N)
        return Outputs(np.stack([similar_N, text_rank_N, image_rank_N], axis=1)[:, None].astype(np.float32))

    return predict


def _codes(texts: Sequence[str]) -> np.ndarray:
    """(N,): the same number for the same text, or image."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts])


BASELINE = TaskBaseline(fit=fit, opened=opened)
