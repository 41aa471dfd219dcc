"""The quality of the models on the rows set aside: `python -m stages.programs.held_out`, which `winnow seeds` calls.

It is in no graph, so that nothing is ever chosen by these rows. Beside them it evaluates the test rows of the same
labels. Those may be better because choices were made on them, or because these rows are of other files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import f1_score

from stages.backends.runners import open_runner
from stages.core.contracts import Runner
from stages.core.entry import run_stage
from stages.core.files import write_json
from stages.core.machine import cores
from stages.core.params.evaluate import EvaluateParams
from stages.core.params.file import Params
from stages.core.paths import MODELS, Paths
from stages.measures.paired import difference_interval, interval
from stages.reading.clean_rows import read_split, texts_of

REFERENCE = "teacher"


def held_out(params: Params, paths: Paths) -> None:
    """Write `paths.held_out_report`. Raises ValueError where no row is set aside, or one has an unknown label."""
    aside = pq.read_table(paths.held_out)
    if len(aside) == 0:
        raise ValueError(f"{paths.held_out}: no rows are set aside. See ingest.docstrings.held_out_rows_per_library.")
    labels = sorted(set(aside["label"].to_pylist()))
    test = read_split(paths.clean, "test")
    like_them = test.filter(pc.is_in(test["label"], value_set=pa.array(labels, pa.large_string())))
    runners = {name: open_runner(paths.model(name), threads=cores()) for name in MODELS}
    options = params.evaluate, params.data_seed
    write_json(
        paths.held_out_report,
        {
            "labels": labels,
            "held_out": judged(runners, aside, *options),
            "test_rows_of_these_labels": judged(runners, like_them, *options) if len(like_them) else None,
        },
    )


def judged(runners: Mapping[str, Runner], rows: pa.Table, params: EvaluateParams, seed: int) -> dict[str, Any]:
    """The quality of each model on N rows, and its difference from the teacher's accuracy, each with its interval.

    Macro-F1 is over the labels that the rows have. Raises ValueError where a row's label is unknown to a model.
    """
    truth_N, texts = np.array(rows["label"].to_pylist()), texts_of(rows)
    answers = {}
    for name, runner in runners.items():
        if unknown := sorted(set(truth_N) - set(runner.labels)):
            raise ValueError(f"rows set aside have labels that no training row has: {', '.join(unknown[:5])}.")
        answers[name] = np.array(runner.labels)[runner.predict(texts).argmax(1)]
    drawn: Any = {"confidence": params.confidence, "resamples": params.resamples, "seed": seed, "measure": "accuracy"}
    found: dict[str, Any] = {"rows": len(rows), "models": {}}
    for name, given_N in answers.items():
        ends = interval(truth_N, given_N, **drawn)
        apart = difference_interval(truth_N, answers[REFERENCE], given_N, **drawn)
        macro_f1 = f1_score(truth_N, given_N, labels=np.unique(truth_N), average="macro", zero_division=0)
        found["models"][name] = {
            "accuracy": round(ends.estimate, 6),
            "low": round(ends.low, 6),
            "high": round(ends.high, 6),
            "macro_f1": round(float(macro_f1), 6),
            "against_teacher": {
                "difference": round(apart.estimate, 6), "low": round(apart.low, 6), "high": round(apart.high, 6)
            },
        }  # fmt: skip
    return found


if __name__ == "__main__":
    run_stage(held_out)
