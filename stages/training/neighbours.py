"""What a linear head reads of a network's states around each token, and the convolution that does the same.

H hidden width, D dimensions, K outputs; PARTS, NEAR and FAR as for static embeddings.
"""

from __future__ import annotations

import itertools

import numpy as np

from stages.core.neighbours import FAR, NEAR, PARTS, around
from stages.training.rows import TokenRows


def axes_of(states: np.ndarray, dimensions: int) -> np.ndarray:
    """(H, D): the principal axes of states (tokens, H); through 0, so that what is beyond a row's ends stays 0."""
    squares_HH = (states.T @ states).astype(np.float64)
    return np.linalg.eigh(squares_HH).eigenvectors[:, ::-1][:, :dimensions].astype(np.float32)


def features_around(states: np.ndarray, rows: TokenRows, axes_HD: np.ndarray) -> np.ndarray:
    """(tokens, PARTS * D): of each token of the rows its state and those around it, on these axes."""
    vectors = states @ axes_HD
    return np.concatenate([around(vectors[None, start:end])[0] for start, end in itertools.pairwise(rows.offsets)])


def as_convolution(coefficients_KF: np.ndarray, axes_HD: np.ndarray) -> np.ndarray:
    """(K, H, 2 FAR + 1): the kernel that makes of the states what these coefficients make of their features."""
    outputs, dimensions = len(coefficients_KF), axes_HD.shape[1]
    parts = coefficients_KF.reshape(outputs, PARTS, dimensions) @ axes_HD.T
    near, left, right = parts[:, :-2], parts[:, -2:-1], parts[:, -1:]
    far = [np.repeat(side / (FAR - NEAR), FAR - NEAR, axis=1) for side in (left, right)]
    return np.ascontiguousarray(np.concatenate([far[0], near, far[1]], axis=1).transpose(0, 2, 1))
