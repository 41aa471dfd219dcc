"""Which labels are likely wrong, by confident learning. N rows, C labels.

Source: Northcutt et al. 2021, arXiv:1911.00068; cleanlab is its authors' own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from stages.tasks.contract import Outputs, Space
from stages.tasks.shared.labelling import Doubts, TaskDoubts, by_label


def doubts(targets: Sequence[str], outputs: Outputs, space: Space) -> Doubts:
    """The quality of a label is its probability; flagged are those that both rules of confident learning prune."""
    place = {label: at for at, label in enumerate(space["labels"])}
    given_N = np.array([place[target] for target in targets])
    values_NC = outputs.values.astype(np.float64)
    values_NC /= values_NC.sum(1, keepdims=True)  # float32 sums to 1 but for rounding
    quality_N = get_label_quality_scores(given_N, values_NC, method="self_confidence")
    return Doubts(quality_N, find_label_issues(given_N, values_NC, filter_by="both", n_jobs=1))


DOUBTS = TaskDoubts(by_label, doubts)
