"""What a linear head reads of each token's neighbours. B rows, T tokens of each, D dimensions of a vector."""

from __future__ import annotations

import numpy as np

NEAR, FAR = 2, 6  # tokens on each side: so many are read one by one, and those up to the other number as their mean
PARTS = 2 * NEAR + 3  # the vectors that `around` makes of one


def around(vectors_BTD: np.ndarray) -> np.ndarray:
    """(B, T, 7D): of each token its vector between those of the NEAR tokens on each side, the leftmost first.

    Then the mean of the further ones on the left, up to FAR, and that on the right. Beyond a row's ends are zeros.
    """
    tokens = vectors_BTD.shape[1]
    padded = np.pad(vectors_BTD, ((0, 0), (FAR, FAR), (0, 0)))
    steps = {step: padded[:, FAR + step : FAR + step + tokens] for step in range(-FAR, FAR + 1)}
    near = [steps[step] for step in range(-NEAR, NEAR + 1)]
    far = [np.mean([steps[side * step] for step in range(NEAR + 1, FAR + 1)], axis=0) for side in (-1, 1)]
    return np.concatenate([*near, *far], axis=2)
