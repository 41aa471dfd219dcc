"""Which numbers are likely wrong: those farthest from what a model says that did not learn from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.tasks.contract import Outputs, Space
from stages.tasks.regression.answers import numbers
from stages.tasks.shared.labelling import Doubts, TaskDoubts


def aligned(outputs: Outputs, own: Space, space: Space) -> Outputs:
    """The numbers in deviations from the mean of `space`."""
    values_N = (numbers(outputs, own) - space["mean"]) / space["deviation"]
    return outputs._replace(values=values_N[:, None].astype(np.float32))


def doubts(targets: Sequence[str], outputs: Outputs, space: Space) -> Doubts:
    """The quality is exp(-distance), in deviations; none is flagged, as nothing says where wrong ones begin.

    Source: the score `residual` of Zhou et al. 2023, arXiv:2305.16583.
    """
    given_N = np.array([float(target) for target in targets])
    distance_N = np.abs(given_N - numbers(outputs, space)) / space["deviation"]
    return Doubts(np.exp(-distance_N), np.zeros(len(targets), dtype=bool))


DOUBTS = TaskDoubts(aligned, doubts)
