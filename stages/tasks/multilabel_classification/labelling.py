"""Which texts a multi-label classifier is unsure of. N rows, C labels."""

from __future__ import annotations

import numpy as np

from stages.tasks.contract import Outputs, Space
from stages.tasks.multilabel_classification.scores import threshold
from stages.tasks.shared.labelling import TaskLabelling, likeliest_labels
from stages.tasks.shared.probabilities import SMALLEST


def margin(outputs: Outputs, space: Space) -> np.ndarray:
    """(N,): 1 where a label is as likely as its threshold; less, the farther the nearest one is from its own."""
    thresholds_C = np.array([threshold(label, space) for label in space["labels"]])
    farthest_C = np.maximum(thresholds_C, 1 - thresholds_C)
    return 1 - (np.abs(outputs.values - thresholds_C) / farthest_C).min(1)


def entropy(outputs: Outputs, _space: Space) -> np.ndarray:
    """(N,): the mean over the labels of the entropy, each a choice of two, in bits."""
    values_NC = np.clip(outputs.values.astype(np.float64), SMALLEST, 1 - SMALLEST)
    return -(values_NC * np.log2(values_NC) + (1 - values_NC) * np.log2(1 - values_NC)).mean(1)


LABELLING = TaskLabelling("several", {"margin": margin, "entropy": entropy}, likeliest_labels)
