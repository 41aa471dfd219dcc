"""Stage `probe`: the pretrained encoder as it is, with a linear head fitted to what it puts out.

What its user would have without training the encoder: a floor for the teacher, and for what is made of it.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import nn

from stages.cleaning.rules import cleaning_of
from stages.core import plugins
from stages.core.contracts import Family, Head
from stages.core.entry import run_stage
from stages.core.files import publish
from stages.core.model_folder import leave_out, seal
from stages.core.neighbours import FAR
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.models.pretrained import as_it_is, without_path
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.tasks.shared.left_out import left_out_of
from stages.training.described import described
from stages.training.frozen import put_in, read_by_head, some_of
from stages.training.linear_head import Chosen, Featured, head_of
from stages.training.neighbours import as_convolution, axes_of, features_around
from stages.training.processes import own_device
from stages.training.rows import TrainingData, open_training_data

log = logging.getLogger("winnow")


class Fitted(NamedTuple):
    """The head that was fitted to the output of some of an encoder's layers."""

    depth: float
    chosen: Chosen
    axes_HD: np.ndarray | None
    """Of tokens: the axes on which their states were read."""


def probe(params: Params, paths: Paths) -> None:
    """Write the probe: a model's folder as the teacher's, whose encoder was not trained.

    How much its head is regularized, and after which of its layers it reads, is chosen by the validation rows. Tasks
    that write have none, nor have those of images whose tower of these is new.

    Raises ValueError for an unknown family or task, and for a family without pretrained weights.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    data = open_training_data(paths)
    new_images = params.model.image is not None
    if (reason := left_out_of("probe", task.head(data.space), images=new_images)) is not None:
        leave_out(paths.model("probe"), params.task.name, reason)
        return
    family: Family = plugins.load(FAMILIES, params.model.family, key="model.family")
    best = max(
        (fitted(params, paths, data, task, family, depth) for depth in params.probe.depths),
        key=lambda found: (found.chosen.score, found.depth),
    )
    weights, intercept_K = best.chosen.head
    head = task.head(data.space)
    if best.axes_HD is not None:
        head, weights = head._replace(reach=FAR), as_convolution(weights, best.axes_HD)
    model = lowest_layers(params, paths, family, head, best.depth)
    put_in(family.parts(model).head, weights, intercept_K)
    how = best.chosen.described(params.task.measure)
    if how and len(params.probe.depths) > 1:
        how["chosen"]["depth"] = best.depth
    masks, language, max_chars = params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
    cleaning = cleaning_of(params.clean.rules, masks, language, max_chars)
    description = described(
        replace(data, space=best.chosen.space), backend="pytorch", task=params.task.name, cleaning=cleaning._asdict(),
        pretrained=without_path(params.model.name), family=params.model.family, **how,
    )  # fmt: skip
    with publish(paths.model("probe")) as folder:
        family.write(model, folder)
        shutil.copyfile(paths.tokenizer / "tokenizer.json", folder / "tokenizer.json")
        seal(folder, **description)


def fitted(
    params: Params, paths: Paths, data: TrainingData, task: TaskLearning, family: Family, depth: float
) -> Fitted:
    """The best head on the output of that share of the encoder's layers, the lowest ones.

    A token head reads each token's state and those around it, on their principal axes: the lower layers hardly mix
    tokens, and the last one of an encoder of whole texts says little of a single token.
    """
    model = lowest_layers(params, paths, family, task.head(data.space), depth)
    head = family.parts(model).head
    axes_HD: np.ndarray | None = None
    read: list[Featured] = []
    for title, rows in {"training rows": data.train, "validation rows": data.validation}.items():
        some = some_of(rows, params.probe.max_examples)
        states = read_by_head(model, head, some, pad_id=data.pad_id, title=title)
        if some.per_token:
            axes_HD = axes_of(states, params.probe.dimensions) if axes_HD is None else axes_HD
            states = features_around(states, some, axes_HD)
        read.append(Featured(some, states))
    log.info("the lowest %g of the encoder's layers:", depth)
    train, validation = read
    chosen = head_of(
        train, validation, task=task, space=data.space, measure=params.task.measure,
        inverse_regularizations=params.probe.inverse_regularizations,
    )  # fmt: skip
    return Fitted(depth, chosen, axes_HD)


def lowest_layers(params: Params, paths: Paths, family: Family, head: Head, depth: float) -> nn.Module:
    """The pretrained model, untrained, with that share of its layers; all where they share their weights (ALBERT)."""
    model = as_it_is(family, params.model, head, paths.token_pieces).to(own_device())
    layers = len(family.parts(model).layers)
    kept = max(1, round(depth * layers))
    return model if kept >= layers else family.student(model, range(kept))


if __name__ == "__main__":
    run_stage(probe)
