"""What simple models say of training rows that they did not learn from: cross-validation.

    rows ── drawn into FOLDS parts ──> each part is judged by models that learned from the others

The models are the task's baseline and, where the project has its probe, a head on the encoder's vectors. Of more than
`most` rows each learns from so many, drawn at random. N rows, J of them judged.

Source: Northcutt et al. 2021, arXiv:1911.00068, section 2 (out-of-sample probabilities).
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file
from sklearn.model_selection import GroupKFold

from flows.dvc import reproducing
from flows.running.processes import Children
from stages.core import plugins
from stages.core.contracts import Outputs, Space, Text
from stages.core.files import write_json
from stages.core.model_folder import DESCRIPTION, left_out
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.tasks import TASKS
from stages.tasks.contract import TaskBaseline, TaskData, TaskEncoding
from stages.tasks.shared.labelling import TaskDoubts

PROGRAM = "stages.programs.probed"
PART = "part "  # begins the line that the program logs of each fold


class Fold(NamedTuple):
    """What one model learns from, and judges: places among the N rows."""

    learned: np.ndarray
    judged: np.ndarray
    """Of the other part those with classes that a row that is learned has too."""


class OutOfFold(NamedTuple):
    """The outputs for those rows that can be judged."""

    at: np.ndarray
    """(J,) their places among the N rows, in order."""
    outputs: Outputs
    """Of J rows, of `space`."""
    space: Space
    """All that the N rows' targets hold."""


def folds_of(
    targets: Sequence[str], groups: Sequence[str] | None, task: str, *, folds: int, most: int, seed: int
) -> list[Fold]:
    """The folds: each row is in one part, and so is each group, where `groups` are given.

    Without groups the rows of each target are spread evenly.

    Raises ValueError where there are not two rows or groups, and where no row can be judged.
    """
    units = range(len(targets)) if groups is None else groups
    if (parts := min(folds, len(set(units)))) < 2:
        of = "there are fewer than two training rows" if groups is None else "all training rows are of one group"
        raise ValueError(f"{of}, so none can be judged by the others. Add rows.")
    data: TaskData = plugins.part(TASKS, task, "data", key="task.name")
    kinds, draw = [set(data.kinds(target)) for target in targets], np.random.default_rng(seed)
    found = []
    part_N = _spread(targets, parts, draw) if groups is None else _by_group(groups, parts, seed)
    for part in range(parts):
        learned, own = np.flatnonzero(part_N != part), np.flatnonzero(part_N == part)
        if len(learned) > most:
            learned = np.sort(draw.choice(learned, most, replace=False))
        known = set().union(*(kinds[at] for at in learned))
        found.append(Fold(learned, np.array([at for at in own if kinds[at] <= known], dtype=np.int64)))
    if not any(len(fold.judged) for fold in found):
        raise ValueError("no training row has a target that rows of other parts have too, so none can be judged.")
    return found


def _spread(targets: Sequence[str], parts: int, draw: np.random.Generator) -> np.ndarray:
    """(N,): the part of each row; rows of a target are in the parts in turn."""
    order = np.lexsort((draw.permutation(len(targets)), np.unique(targets, return_inverse=True)[1]))
    part_N = np.empty(len(targets), dtype=np.int64)
    part_N[order] = np.arange(len(targets)) % parts
    return part_N


def _by_group(groups: Sequence[str], parts: int, seed: int) -> np.ndarray:
    part_N = np.empty(len(groups), dtype=np.int64)
    drawn = GroupKFold(parts, shuffle=True, random_state=seed).split(part_N, groups=groups)
    for part, (_, own) in enumerate(drawn):
        part_N[own] = part
    return part_N


def by_baseline(
    texts: Sequence[Text], targets: Sequence[str], folds: Sequence[Fold], params: Params, doubts: TaskDoubts, *,
    on_fold: Callable[[], object],
) -> OutOfFold:  # fmt: skip
    """The outputs of baselines, each of which learned from its fold; `on_fold` is told of each."""
    name, key = params.task.name, "task.name"
    encoding: TaskEncoding = plugins.part(TASKS, name, "encoding", key=key)
    baseline: TaskBaseline = plugins.part(TASKS, name, "baseline", key=key)
    space, values = encoding.space(targets), []
    for fold in folds:
        if len(fold.judged):
            learned = [targets[at] for at in fold.learned]
            seen = encoding.space(learned)
            model = baseline.fit([texts[at] for at in fold.learned], learned, seen, params.baseline, params.seed)
            outputs = baseline.opened(model)([texts[at] for at in fold.judged])
            values.append(doubts.aligned(outputs, seen, space).values)
        on_fold()
    at_J = np.concatenate([fold.judged for fold in folds])
    order = np.argsort(at_J)
    return OutOfFold(at_J[order], Outputs(np.concatenate(values)[order]), space)


def has_probe(paths: Paths) -> bool:
    """Whether the project has made its probe, and this install can open it: a light one cannot."""
    folder = paths.model("probe")
    made = (folder / DESCRIPTION).is_file() and left_out(folder) is None
    return made and importlib.util.find_spec("torch") is not None


def with_probe(found: OutOfFold, paths: Paths, folds: Sequence[Fold], *, on_fold: Callable[[], object]) -> OutOfFold:
    """The mean of these outputs and of those of the probe's encoder, with a head for each fold.

    The program runs in the project, in a process of its own. Raises DvcError where it fails.
    """

    def on_line(line: str) -> None:
        if line.startswith(PART):
            on_fold()

    with tempfile.TemporaryDirectory(prefix="winnow-doubts-") as scratch, Children() as children:
        asked, out = Path(scratch) / "folds.json", Path(scratch) / "outputs.safetensors"
        write_json(asked, [{"learned": fold.learned.tolist(), "judged": fold.judged.tolist()} for fold in folds])
        reproducing.run_module(paths.root, PROGRAM, [str(asked), str(out)], on_line, children)
        values_NK = load_file(out)["values"]
    both = (found.outputs.values + values_NK[found.at]) / 2
    return found._replace(outputs=found.outputs._replace(values=both))
