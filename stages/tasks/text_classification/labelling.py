"""Which texts a classifier is unsure of. N rows, C labels."""

from __future__ import annotations

import numpy as np

from stages.tasks.contract import Outputs, Space
from stages.tasks.shared.labelling import TaskLabelling, likeliest_labels
from stages.tasks.shared.probabilities import SMALLEST


def margin(outputs: Outputs, _space: Space) -> np.ndarray:
    """(N,): 1 minus how far the likeliest label is before the next; 1 where both are as likely.

    Source: Scheffer et al. 2001, doi:10.1007/3-540-44816-0_31.
    """
    if outputs.values.shape[1] < 2:
        return np.zeros(len(outputs.values))
    first_N, second_N = np.sort(outputs.values.astype(np.float64), axis=1)[:, :-3:-1].T
    return 1 - (first_N - second_N)


def entropy(outputs: Outputs, _space: Space) -> np.ndarray:
    """(N,): the entropy over that of labels which all are as likely."""
    values_NC = np.maximum(outputs.values.astype(np.float64), SMALLEST)
    return -(values_NC * np.log(values_NC)).sum(1) / np.log(max(values_NC.shape[1], 2))


LABELLING = TaskLabelling("one", {"margin": margin, "entropy": entropy}, likeliest_labels)
