"""Stage `compare`: the differences between models on the same test rows, at each step from teacher to int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.core.entry import run_stage
from stages.core.files import write_json
from stages.core.params.evaluate import EvaluateParams
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.measures.paired import difference_interval, mcnemar

CONTRASTS = (
    ("student", "teacher"),
    ("pruned", "student"),
    ("quantized", "pruned"),
    ("quantized", "teacher"),
    ("quantized", "baseline"),
    ("pruned", "teacher"),
    ("baseline", "teacher"),
)


def compare(params: Params, paths: Paths) -> None:
    """Write `paths.comparison`. Raises ValueError where two models were evaluated on different rows."""
    write_json(
        paths.comparison,
        {
            f"{one}_and_{other}": difference(paths, one, other, params.evaluate, params.data_seed)
            for one, other in CONTRASTS
        },
    )


def difference(paths: Paths, one: str, other: str, params: EvaluateParams, seed: int) -> dict[str, Any]:
    """The differences of `one` from `other` on the test rows.

    `agreement` is the share of rows with the same answer. Differences are of `one` minus `other`, each with the
    ends of its interval, rows in pairs; `p_value` is McNemar's exact test of their accuracy.
    """
    tables = [pq.read_table(paths.predictions(name), columns=["row_id", "label", "predicted"]) for name in (one, other)]
    if not tables[0]["row_id"].equals(tables[1]["row_id"]):
        raise ValueError(f"{one} and {other} were evaluated on different rows. Run `dvc repro` again.")
    labels = np.array(tables[0]["label"].to_pylist())
    ours, theirs = (np.array(table["predicted"].to_pylist()) for table in tables)
    found: dict[str, Any] = {"agreement": round(float((ours == theirs).mean()), 6), "rows": len(labels)}
    for measure in ("accuracy", "macro_f1"):
        interval = difference_interval(
            labels, theirs, ours, measure=measure, confidence=params.confidence, resamples=params.resamples, seed=seed
        )
        found[measure] = {
            "difference": round(interval.estimate, 6), "low": round(interval.low, 6), "high": round(interval.high, 6)
        }  # fmt: skip
    lost = int(((theirs == labels) & (ours != labels)).sum())
    won = int(((theirs != labels) & (ours == labels)).sum())
    return {**found, "right_to_wrong": lost, "wrong_to_right": won, "p_value": round(mcnemar(lost, won), 6)}


if __name__ == "__main__":
    run_stage(compare)
