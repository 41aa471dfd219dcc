"""What simple models say of training rows that they did not learn from: cross-validation.

    units ── drawn into FOLDS parts ──> each part is answered by models fitted to the others

The models are the task's baseline and, where the project has its probe, a head on the encoder's vectors. The time is
bounded: of more than `most` rows each learns from so many, drawn at random. N rows.

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


class OutOfFold(NamedTuple):
    """The outputs for those rows that can be judged."""

    at: np.ndarray
    """(J,) their places among the N rows: each has classes that the other folds have too."""
    outputs: Outputs
    """Of J rows, of `space`."""
    space: Space
    """All that the N rows' targets hold."""


def parts_of(units: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """(N,): the number of the part that each row is in; the rows of a unit are in one.

    Raises ValueError where there are fewer than two units.
    """
    folds = min(folds, len(set(units)))
    if folds < 2:
        raise ValueError("all training rows are of one group, so none can be judged by the others. Add rows.")
    parts_N = np.zeros(len(units), dtype=np.int64)
    drawn = GroupKFold(folds, shuffle=True, random_state=seed).split(parts_N, groups=units)
    for part, (_, own) in enumerate(drawn):
        parts_N[own] = part
    return parts_N


def out_of_fold(
    texts: Sequence[Text], targets: Sequence[str], parts_N: np.ndarray, params: Params, doubts: TaskDoubts, *,
    most: int, on_fold: Callable[[], object],
) -> OutOfFold:  # fmt: skip
    """The outputs of baselines that learned from no row of the same part; `on_fold` is told of each.

    Raises ValueError where no row can be judged.
    """
    name, key = params.task.name, "task.name"
    encoding: TaskEncoding = plugins.part(TASKS, name, "encoding", key=key)
    baseline: TaskBaseline = plugins.part(TASKS, name, "baseline", key=key)
    data: TaskData = plugins.part(TASKS, name, "data", key=key)
    draw, space = np.random.default_rng(params.data_seed), encoding.space(targets)
    kinds, found, values = [set(data.kinds(target)) for target in targets], [], []
    for part in np.unique(parts_N):
        others, own = np.flatnonzero(parts_N != part), np.flatnonzero(parts_N == part)
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
        on_fold()
    if not found:
        raise ValueError("no training row has a target that rows of other parts have too, so none can be judged.")
    at_J = np.concatenate(found)
    order = np.argsort(at_J)
    return OutOfFold(at_J[order], Outputs(np.concatenate(values)[order]), space)


def has_probe(paths: Paths) -> bool:
    """Whether the project has made its probe, and the tokens that it reads; a light install cannot open one."""
    folder = paths.model("probe")
    made = (folder / DESCRIPTION).is_file() and left_out(folder) is None and (paths.tokens / "train").is_dir()
    return made and importlib.util.find_spec("torch") is not None


def with_probe(
    found: OutOfFold, paths: Paths, parts_N: np.ndarray, *, most: int, seed: int, on_fold: Callable[[], object]
) -> OutOfFold:
    """The mean of these outputs and of those of the probe's encoder, whose heads learned from no row of the same part.

    The program runs in the project, in a process of its own. Raises DvcError where it fails.
    """

    def on_line(line: str) -> None:
        if line.startswith("part "):
            on_fold()

    with tempfile.TemporaryDirectory(prefix="winnow-doubts-") as scratch, Children() as children:
        asked, out = Path(scratch) / "parts.json", Path(scratch) / "outputs.safetensors"
        write_json(asked, {"parts": parts_N.tolist(), "most": most, "seed": seed})
        reproducing.run_module(paths.root, PROGRAM, [str(asked), str(out)], on_line, children)
        values_NK = load_file(out)["values"]
    both = (found.outputs.values + values_NK[found.at]) / 2
    return found._replace(outputs=found.outputs._replace(values=both))
