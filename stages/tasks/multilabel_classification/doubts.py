"""Which sets of labels are likely wrong, by confident learning of each label by itself. N rows, C labels.

Source: Thyagarajan et al. 2022, arXiv:2211.13895; cleanlab is its authors' own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cleanlab.multilabel_classification.filter import find_label_issues
from cleanlab.multilabel_classification.rank import get_label_quality_scores

from stages.tasks.contract import Outputs, Space
from stages.tasks.shared.label_sets import from_text, held
from stages.tasks.shared.labelling import Doubts, TaskDoubts, by_label


def doubts(targets: Sequence[str], outputs: Outputs, space: Space) -> Doubts:
    """The quality of a set is a moving average over its labels' own, the worst weighing most.

    A label that every row has is in no doubt, as nothing is known of how rows without it look.
    """
    held_NC = held([from_text(target) for target in targets], space["labels"])
    doubtful_C = ~held_NC.all(axis=0)
    if not held_NC[:, doubtful_C].any():
        return Doubts(np.ones(len(targets)), np.zeros(len(targets), dtype=bool))
    given_N = [np.flatnonzero(row).tolist() for row in held_NC[:, doubtful_C]]
    values_NC = outputs.values[:, doubtful_C].astype(np.float64)
    if values_NC.shape[1] == 1:  # cleanlab takes two labels and more; one that no row has changes no order
        values_NC = np.pad(values_NC, ((0, 0), (0, 1)))
    quality_N = get_label_quality_scores(given_N, values_NC)
    return Doubts(quality_N, find_label_issues(given_N, values_NC, n_jobs=1))


DOUBTS = TaskDoubts(by_label, doubts)
