"""What the task's baseline says of training rows that it did not learn from: cross-validation with folds by group.

    groups ── drawn into FOLDS parts ──> each part is answered by a model fitted to the others

The time is bounded: of more than `most` rows each model learns from so many, drawn at random. N rows.

Source: Northcutt et al. 2021, arXiv:1911.00068, section 2 (out-of-sample probabilities).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold

from stages.core import plugins
from stages.core.contracts import Outputs, Space, Text
from stages.core.params.file import Params
from stages.tasks import TASKS
from stages.tasks.contract import TaskBaseline, TaskData, TaskEncoding
from stages.tasks.shared.labelling import TaskDoubts


class OutOfFold(NamedTuple):
    """The outputs for those rows that can be judged."""

    at: np.ndarray
    """(J,) their places among the N rows: each has classes that the other folds have too."""
    outputs: Outputs
    """Of J rows, of `space`."""
    space: Space
    """All that the N rows' targets hold."""


def out_of_fold(
    texts: Sequence[Text], targets: Sequence[str], groups: Sequence[str], params: Params, doubts: TaskDoubts, *,
    folds: int, most: int, on_fold: Callable[[int, int], object],
) -> OutOfFold:  # fmt: skip
    """The outputs of models that learned from no row of the same group; `on_fold(done, folds)` is told of each.

    Raises ValueError where the rows are of fewer than two groups.
    """
    name, key = params.task.name, "task.name"
    encoding: TaskEncoding = plugins.part(TASKS, name, "encoding", key=key)
    baseline: TaskBaseline = plugins.part(TASKS, name, "baseline", key=key)
    data: TaskData = plugins.part(TASKS, name, "data", key=key)
    folds = min(folds, len(set(groups)))
    if folds < 2:
        raise ValueError("all training rows are of one group, so none can be judged by the others. Add rows.")
    draw, space = np.random.default_rng(params.data_seed), encoding.space(targets)
    kinds, found, values = [set(data.kinds(target)) for target in targets], [], []
    parts = GroupKFold(folds, shuffle=True, random_state=params.data_seed).split(np.zeros(len(texts)), groups=groups)
    for done, (others, own) in enumerate(parts, start=1):
        if len(others) > most:
            others = np.sort(draw.choice(others, most, replace=False))
        known = set().union(*(kinds[at] for at in others))
        judged = np.array([at for at in own if kinds[at] <= known], dtype=np.int64)
        if len(judged):
            learned = [targets[at] for at in others]
            seen = encoding.space(learned)
            model = baseline.fit([texts[at] for at in others], learned, seen, params.baseline, params.seed)
            outputs = baseline.opened(model)([texts[at] for at in judged])
            found.append(judged)
            values.append(doubts.aligned(outputs, seen, space).values)
        on_fold(done, folds)
    if not found:
        raise ValueError("no training row has a target that rows of other groups have too, so none can be judged.")
    at_J = np.concatenate(found)
    order = np.argsort(at_J)
    return OutOfFold(at_J[order], Outputs(np.concatenate(values)[order]), space)
