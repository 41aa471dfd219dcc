"""The quality of the models on the rows set aside: `python -m stages.programs.held_out`, which `winnow seeds` calls.

It is in no graph, so that nothing is ever chosen by these rows. Beside them it evaluates the test rows of the same
classes. Those may be better because choices were made on them, or because these rows are of other files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.entry import run_stage
from stages.core.files import write_json
from stages.core.model_folder import left_out
from stages.core.params.evaluate import EvaluateParams
from stages.core.params.file import Params
from stages.core.paths import MODELS, Paths
from stages.measures.counted import counted
from stages.measures.opened import Opened, opened
from stages.measures.paired import difference_interval, interval, measured
from stages.reading.clean_rows import GROUP, read_split, texts_of

REFERENCE = "teacher"


def held_out(params: Params, paths: Paths) -> None:
    """Write `paths.held_out_report`. Raises ValueError where no row is set aside, or one has an unknown target."""
    aside = pq.read_table(paths.held_out)
    if len(aside) == 0:
        raise ValueError(f"{paths.held_out}: no rows are set aside. See ingest.docstrings.held_out_rows_per_library.")
    folders = {name: paths.model(name) for name in MODELS}
    how = params.generate.settings
    models = {name: opened(folder, how) for name, folder in folders.items() if left_out(folder) is None}
    kinds = models[REFERENCE].of_measures.kinds
    known = {kind for target in aside["label"].to_pylist() for kind in kinds(target)}
    test = read_split(paths.clean, "test", GROUP)
    like_them = test.filter(pa.array([{*kinds(target)} <= known for target in test["label"].to_pylist()]))
    options = paths.images, params.evaluate, params.data_seed
    write_json(
        paths.held_out_report,
        {
            "classes": sorted(known),
            "held_out": judged(models, aside, *options),
            "test_rows_of_these_classes": judged(models, like_them, *options) if len(like_them) else None,
        },
    )


def judged(
    models: Mapping[str, Opened], rows: pa.Table, images: Path, params: EvaluateParams, seed: int
) -> dict[str, Any]:
    """The measures of each model on N rows, and their differences from the teacher's, each with its interval.

    Raises ValueError where a row's target is unknown to a model.
    """
    truths, texts, units = rows["label"].to_pylist(), texts_of(rows, images), rows[GROUP].to_pylist()
    answers = {}
    for name, model in models.items():
        asked = model.ask(texts)
        told = asked.outputs if model.of_answers.likelihood is None else model.tell(texts, truths)
        model.of_answers.losses(truths, told, model.runner.space)  # raises for a target it does not know
        answers[name] = asked.answers
    drawn: Any = {"confidence": params.confidence, "resamples": params.resamples, "seed": seed}
    found: dict[str, Any] = {"rows": len(rows), "models": {name: {"against_teacher": {}} for name in models}}
    task = models[REFERENCE].of_measures
    for measure in task.of(truths):
        of = {name: counted(task, measure, truths, given, units) for name, given in answers.items()}
        for name, given in of.items():
            ends = interval(given, measure, **drawn)
            apart = difference_interval(of[REFERENCE], given, measure, **drawn)
            own = found["models"][name]
            own[measure.name] = {
                "value": round(measured(given, measure), 6), "low": round(ends.low, 6), "high": round(ends.high, 6)
            }  # fmt: skip
            own["against_teacher"][measure.name] = {
                "difference": round(apart.estimate, 6), "low": round(apart.low, 6), "high": round(apart.high, 6)
            }  # fmt: skip
    return found


if __name__ == "__main__":
    run_stage(held_out)
