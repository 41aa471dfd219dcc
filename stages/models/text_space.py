"""The space of texts that were trained before, for images that learn to find their texts there.

N texts, W numbers of a text's vector, P of the space.
"""

from __future__ import annotations

import torch

NOISE = 1e-3  # of the mean reach: what rounding leaves of a direction that no text has


def whitening(vectors_NW: torch.Tensor, size: int) -> torch.Tensor:
    """(P, W): a layer behind which the vectors, each of length 1, spread about evenly over P = `size` directions.

    A sentence encoder has the texts of one field close together, so that their cosines hardly tell them apart. Each
    main direction is divided by how far the vectors reach along it (the root of the mean square), and by the mean of
    that over all directions, so that those in which little is but noise do not count as much as the others. Directions
    beyond W, and those in which no text reaches, are 0. Source: Su et al. 2021, arXiv:2103.15316, who centre first.
    """
    vectors_NW = vectors_NW.double()
    squares_W, directions_WW = torch.linalg.eigh(vectors_NW.T @ vectors_NW / len(vectors_NW))
    reach_P = squares_W.flip(0)[:size].clamp(min=0).sqrt()
    directions_PW = directions_WW.flip(1).T[:size]
    # A direction is found up to its sign: the one in which its largest number is positive.
    signs_P = torch.take_along_dim(directions_PW, directions_PW.abs().max(1, keepdim=True).indices, 1).sign()
    mean = squares_W.mean().sqrt()
    gains_P = torch.where(reach_P > NOISE * mean, 1 / (reach_P + mean), 0.0)
    layer_PW = torch.zeros(size, vectors_NW.shape[1], dtype=torch.float64)
    layer_PW[: len(reach_P)] = signs_P * directions_PW * gains_P[:, None]
    return layer_PW.float()
