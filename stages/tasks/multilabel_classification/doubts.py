"""Which sets of labels are likely wrong, by confident learning of each label by itself. N rows, C labels.

Source: Thyagarajan et al. 2022, arXiv:2211.13895; cleanlab is its authors' own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cleanlab.multilabel_classification.filter import find_label_issues
from cleanlab.multilabel_classification.rank import get_label_quality_scores

from stages.tasks.contract import Outputs, Space
from stages.tasks.shared.label_sets import from_text
from stages.tasks.shared.labelling import Doubts, TaskDoubts, by_label


def doubts(targets: Sequence[str], outputs: Outputs, space: Space) -> Doubts:
    """The quality of a set is a moving average over its labels' own, the worst weighing most."""
    place = {label: at for at, label in enumerate(space["labels"])}
    given_N = [[place[label] for label in from_text(target)] for target in targets]
    values_NC = outputs.values.astype(np.float64)
    quality_N = get_label_quality_scores(given_N, values_NC)
    return Doubts(quality_N, find_label_issues(given_N, values_NC, n_jobs=1))


DOUBTS = TaskDoubts(by_label, doubts)
