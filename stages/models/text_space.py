"""The space of texts that were trained before, for images that learn to find their texts there.

N texts, W numbers of a text's vector, P of the space.
"""

from __future__ import annotations

import torch


def whitening(vectors_NW: torch.Tensor, size: int) -> torch.Tensor:
    """(P, W): a layer behind which the vectors, each of length 1, spread about evenly over P = `size` directions.

    A sentence encoder has the texts of one field close together, so that their cosines hardly tell them apart. Each
    main direction is divided by how far the vectors reach along it (the root of the mean square), and by the mean of
    that over all directions, so that those in which little is but noise do not count as much as the others. Directions
    beyond W, or beyond the texts, are 0. Source: Su et al. 2021, arXiv:2103.15316, whose vectors are centred first.
    """
    vectors_NW = vectors_NW.double()
    squares_W, directions_WW = torch.linalg.eigh(vectors_NW.T @ vectors_NW / len(vectors_NW))
    reach_P = squares_W.flip(0)[:size].clamp(min=0).sqrt()
    directions_PW = directions_WW.flip(1).T[:size]
    # A direction is found up to its sign: the one in which its largest number is positive.
    signs_P = torch.take_along_dim(directions_PW, directions_PW.abs().argmax(1, keepdim=True), 1).sign()
    layer_PW = torch.zeros(size, vectors_NW.shape[1], dtype=torch.float64)
    layer_PW[: len(reach_P)] = signs_P * directions_PW / (reach_P + squares_W.mean().sqrt())[:, None]
    return layer_PW.float()
