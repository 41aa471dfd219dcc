"""What the probe's encoder says of training rows that its head did not learn from, which `winnow label errors` asks.

    python -m stages.programs.probed PARTS OUT

The encoder reads each row once; a head is fitted for each part of the rows, to the others. It is in no graph. N texts,
W rows (of a text in windows several), F features, K numbers of an output.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from stages.core import plugins
from stages.core.contracts import Family
from stages.core.entry import run_stage
from stages.core.files import read_json
from stages.core.model_folder import describe, plugin_of
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.reading.clean_rows import read_split
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskLearning
from stages.training.frozen import read_by_head
from stages.training.linear_head import Featured, LinearHead, best_head, examples_of
from stages.training.processes import own_device
from stages.training.rows import TokenRows, read_tokens

log = logging.getLogger("winnow")


def probed(params: Params, paths: Paths) -> None:
    """Write OUT, safetensors: `values` (N, K) float32, what the task makes of the logits of each training row.

    PARTS is a JSON file: `parts`, the number of the part that each training row is in, in the order of the clean rows;
    `most`, the rows that a head learns from, at most; `seed`, by which they are drawn. The heads are regularized as the
    probe's own, which the validation rows chose. A line is logged for each part.

    Raises ValueError where the tokens are of other rows than the clean ones.
    """
    asked, out = read_json(Path(sys.argv[1])), Path(sys.argv[2])
    folder, key = paths.model("probe"), "task.name"
    description = describe(folder)
    learning: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key=key)
    answers: TaskAnswers = plugins.part(TASKS, params.task.name, "answers", key=key)
    rows = read_tokens(paths.tokens / "train")
    refuse_others(rows, read_split(paths.clean, "train")["row_id"].to_pylist(), paths)
    family: Family = plugin_of(folder, "family", FAMILIES)
    model: Any = family.open(folder).to(own_device())
    read_WF = read_by_head(
        model, family.parts(model).head, rows, pad_id=description["pad_id"], title="training rows"
    )  # fmt: skip
    logits_NK = left_out_logits(
        Featured(rows, read_WF), np.array(asked["parts"]), learning, learning.head(description["space"]).size,
        strength=description["chosen"]["inverse_regularization"], most=asked["most"], seed=asked["seed"],
    )  # fmt: skip
    save_file({"values": answers.activate(logits_NK).astype(np.float32)}, out)


def left_out_logits(
    read: Featured, parts_N: np.ndarray, learning: TaskLearning, size: int, *, strength: float, most: int, seed: int
) -> np.ndarray:
    """(N, K): of each text the logits of a head that was fitted to the texts of the other parts."""
    rows, features_WF = read
    draw, windows = np.random.default_rng(seed), np.diff(np.append(rows.first_of_texts, len(rows)))
    logits_WK = np.zeros((len(rows), size), dtype=np.float32)
    numbers = np.unique(parts_N)
    for done, part in enumerate(numbers, start=1):
        others = np.flatnonzero(parts_N != part)
        learned_N = np.zeros(len(parts_N), dtype=bool)
        learned_N[draw.choice(others, most, replace=False) if len(others) > most else others] = True
        learned_W = np.flatnonzero(np.repeat(learned_N, windows))
        own_W = np.repeat(parts_N == part, windows)
        examples = examples_of(Featured(rows.of_numbers(learned_W), features_WF[learned_W]))
        head: LinearHead = best_head(
            examples, learning.loss, lambda _: 0.0, size=size, inverse_regularizations=[strength]
        ).head
        logits_WK[own_W] = head.outputs(features_WF[own_W])
        log.info("part %d of %d", done, len(numbers))
    return rows.by_text(logits_WK)


def refuse_others(rows: TokenRows, row_ids: list[str], paths: Paths) -> None:
    """Raise ValueError where the tokens are not of these clean rows."""
    if [rows.row_ids[at] for at in rows.first_of_texts] != row_ids:
        raise ValueError(f"{paths.tokens} is of other rows than {paths.clean}. Run `winnow reproduce --stage probe`.")


if __name__ == "__main__":
    run_stage(probed)
