"""What the probe's encoder says of training rows that its head did not learn from, which `winnow label errors` asks.

    python -m stages.programs.probed FOLDS OUT

The encoder reads each row once; for each fold a head is fitted. It is in no graph. N rows, F features, K numbers of an
output.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from stages.backends.batching import open_reader, outputs
from stages.core import plugins
from stages.core.contracts import Family, Text
from stages.core.entry import run_stage
from stages.core.files import read_json
from stages.core.model_folder import describe, plugin_of
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.reading.clean_rows import read_split, texts_of
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskEncoding, TaskLearning
from stages.training.frozen import put_in
from stages.training.linear_head import Examples, best_head
from stages.training.processes import own_device

log = logging.getLogger("winnow")


def probed(params: Params, paths: Paths) -> None:
    """Write OUT, safetensors: `values` (N, K) float32, what the task makes of the logits of each training row.

    FOLDS is a JSON file: of each fold the places among the clean training rows that are `learned`, and those that are
    `judged`; of rows that no fold judges the values are those of no logits. The heads are regularized as the probe's
    own, which the validation rows chose. A line is logged for each fold.
    """
    folds, out = read_json(Path(sys.argv[1])), Path(sys.argv[2])
    name, key = params.task.name, "task.name"
    encoding: TaskEncoding = plugins.part(TASKS, name, "encoding", key=key)
    learning: TaskLearning = plugins.part(TASKS, name, "learning", key=key)
    answers: TaskAnswers = plugins.part(TASKS, name, "answers", key=key)
    rows = read_split(paths.clean, "train")
    labels = rows["label"].to_pylist()
    space = encoding.space(labels)
    targets = torch.tensor(encoding.targets(labels, [None] * len(labels), range(len(labels)), space))
    strength = describe(paths.model("probe"))["chosen"]["inverse_regularization"]
    vectors_NF = vectors_of(paths.model("probe"), texts_of(rows))
    logits_NK = left_out_logits(vectors_NF, targets, folds, learning, learning.head(space).size, strength=strength)
    save_file({"values": answers.activate(logits_NK).astype(np.float32)}, out)


def vectors_of(folder: Path, texts: Sequence[Text]) -> np.ndarray:
    """(N, F): what the head of the model in `folder` reads of each text; of one in windows the mean of theirs."""
    family: Family = plugin_of(folder, "family", FAMILIES)
    model: Any = family.open(folder)
    head = family.parts(model).head
    assert isinstance(head, nn.Linear)  # of tasks whose targets are doubted, which have one output a row
    width, device = head.in_features, own_device()
    put_in(head, np.eye(width, dtype=np.float32), np.zeros(width, dtype=np.float32))
    model = model.to(device).eval()

    def run(*inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = model(*(torch.from_numpy(one).to(device) for one in inputs)).float().cpu().numpy()
            return found

    return outputs(texts, open_reader(folder, describe(folder)), run, size=width).values


def left_out_logits(
    vectors_NF: np.ndarray, targets: torch.Tensor, folds: Sequence[Mapping[str, Sequence[int]]],
    learning: TaskLearning, size: int, *, strength: float,
) -> np.ndarray:  # fmt: skip
    """(N, K): of each row that a fold judges the logits of a head that was fitted to those that it has learned."""
    logits_NK = np.zeros((len(vectors_NF), size), dtype=np.float32)
    for done, fold in enumerate(folds, start=1):
        if fold["judged"]:
            examples = Examples(vectors_NF[fold["learned"]], targets[fold["learned"]], per_token=False)
            head = best_head(examples, learning, lambda _: 0.0, size=size, inverse_regularizations=[strength]).head
            logits_NK[fold["judged"]] = head.outputs(vectors_NF[fold["judged"]])
        log.info("part %d of %d", done, len(folds))
    return logits_NK


if __name__ == "__main__":
    run_stage(probed)
