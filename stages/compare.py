"""Stage `compare`: the differences between models on the same test rows, at each step from teacher to int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.files import write_json
from stages.core.params.evaluate import EvaluateParams
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.measures.counted import codes, counted
from stages.measures.paired import difference_interval, turned
from stages.tasks import TASKS
from stages.tasks.contract import TaskMeasures

CONTRASTS = (
    ("student", "teacher"),
    ("pruned", "student"),
    ("quantized", "pruned"),
    ("quantized", "teacher"),
    ("quantized", "baseline"),
    ("quantized", "static"),
    ("quantized", "probe"),
    ("pruned", "teacher"),
    ("baseline", "teacher"),
    ("static", "teacher"),
    ("probe", "teacher"),
)
COLUMNS = ("row_id", "unit", "truth", "answer", "score")


def compare(params: Params, paths: Paths) -> None:
    """Write `paths.comparison`. Raises ValueError where two models were evaluated on different rows."""
    task: TaskMeasures = plugins.part(TASKS, params.task.name, "measures", key="task.name")
    write_json(
        paths.comparison,
        {
            f"{one}_and_{other}": difference(task, paths, one, other, params.evaluate, params.data_seed)
            for one, other in CONTRASTS
            if _has_rows(paths, one) and _has_rows(paths, other)
        },
    )


def _has_rows(paths: Paths, name: str) -> bool:
    """Whether the task has that model; of one that is left out there are no predictions."""
    return pq.read_metadata(paths.predictions(name)).num_rows > 0


def difference(
    task: TaskMeasures, paths: Paths, one: str, other: str, params: EvaluateParams, seed: int
) -> dict[str, Any]:
    """The differences of `one` from `other` on the test rows.

    `agreement` is the share of rows with the same answer, and `similarity` how alike the two answers are in the mean,
    where the task says so of answers that are not equal. Differences are of `one` minus `other`, each with the ends of
    its interval, rows in pairs; `worse` and `better` are the rows whose score fell and rose, and `p_value` is that of
    `turned`.
    """
    ours, theirs = (pq.read_table(paths.predictions(name)).select(COLUMNS).to_pydict() for name in (one, other))
    if ours["row_id"] != theirs["row_id"]:
        raise ValueError(f"{one} and {other} were evaluated on different rows. Run `dvc repro` again.")
    truths, units = ours["truth"], ours["unit"]
    same = [mine == its for mine, its in zip(ours["answer"], theirs["answer"], strict=True)]
    found: dict[str, Any] = {"agreement": round(float(np.mean(same)), 6), "rows": len(truths)}
    if task.alike is not None:
        alike = [task.alike(its, mine) for its, mine in zip(theirs["answer"], ours["answer"], strict=True)]
        found["similarity"] = round(float(np.mean(alike)), 6)
    for measure in task.of(truths):
        before, after = (counted(task, measure, truths, side["answer"], units) for side in (theirs, ours))
        interval = difference_interval(
            before, after, measure, confidence=params.confidence, resamples=params.resamples, seed=seed
        )
        found[measure.name] = {
            "difference": round(interval.estimate, 6), "low": round(interval.low, 6), "high": round(interval.high, 6)
        }  # fmt: skip
    worse, better, p_value = turned(np.array(theirs["score"]), np.array(ours["score"]), codes(np.asarray(units)))
    return {**found, "worse": worse, "better": better, "p_value": round(p_value, 6)}


if __name__ == "__main__":
    run_stage(compare)
