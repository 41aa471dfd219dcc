"""Stage `probe`: the pretrained encoder as it is, with a linear head fitted to what it puts out.

What its user would have without training the encoder: a floor for the teacher, and for what is made of it.
"""

from __future__ import annotations

import shutil

from stages.core import plugins
from stages.core.contracts import Family
from stages.core.entry import run_stage
from stages.core.files import publish
from stages.core.model_folder import seal
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.models.pretrained import as_it_is
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.training.described import described
from stages.training.frozen import put_in, read_by_head, some_of
from stages.training.linear_head import Featured, head_of
from stages.training.processes import own_device
from stages.training.rows import open_training_data


def probe(params: Params, paths: Paths) -> None:
    """Write the probe: a model's folder as the teacher's, whose encoder was not trained.

    How much its head is regularized is chosen by the validation rows. Raises ValueError for an unknown family or task,
    and for a family without pretrained weights.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    family: Family = plugins.load(FAMILIES, params.model.family, key="model.family")
    data = open_training_data(paths)
    model = as_it_is(family, params.model, task.head(data.space), paths.token_pieces).to(own_device())
    head = family.parts(model).head
    most = params.probe.max_examples
    splits = {"training rows": some_of(data.train, most), "validation rows": some_of(data.validation, most)}
    read = (
        Featured(rows, read_by_head(model, head, rows, pad_id=data.pad_id, title=title))
        for title, rows in splits.items()
    )
    chosen = head_of(*read, task=task, space=data.space, measure=params.task.measure, params=params.probe)
    put_in(head, *chosen.head)
    how = chosen.described(params.task.measure)
    description = described(params, data, backend="pytorch", family=params.model.family, **how)
    with publish(paths.model("probe")) as folder:
        family.write(model, folder)
        shutil.copyfile(paths.tokenizer / "tokenizer.json", folder / "tokenizer.json")
        seal(folder, **description)


if __name__ == "__main__":
    run_stage(probe)
