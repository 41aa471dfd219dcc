"""The released model on the candidate's own test rows, so that the gate compares like with like when data is new."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from flows import dvc_project
from flows.budget import cores
from flows.comparison import Side, results
from flows.evidence import Results
from stages.params import load_params
from stages.paths import Paths


def rejudged(root: Path, revision: str) -> Callable[[Results], Results]:
    """What gives the results of the model released at `revision` on a candidate's rows in the project at `root`.

    Where all of the rows have its answers already, those; else it answers all of them anew.
    """

    def on_rows_of(candidate: Results) -> Results:
        model = load_params(root / "params.yaml").promotion.model
        known = results(Side(root, revision), model)
        _, at_new, at_old = np.intersect1d(candidate.row_ids, known.row_ids, return_indices=True)
        if len(at_new) == len(candidate.row_ids) and (candidate.labels[at_new] == known.labels[at_old]).all():
            return known
        return dataclasses.replace(
            known,
            labels=candidate.labels,
            row_ids=candidate.row_ids,
            predicted=_answers(root, revision, model, candidate.row_ids),
            slices={},
            probabilities=np.empty((0, 0)),
        )

    return on_rows_of


def _answers(root: Path, revision: str, model: str, row_ids: np.ndarray) -> np.ndarray:
    """(N,) labels for the texts of `row_ids`, all in one call, as `evaluate` does it."""
    from stages.model_folder import open_runner

    content = Side(root, None).artifact(Paths(root).clean)
    if content is None:
        raise ValueError("artifacts/data/clean.parquet cannot be had, so the released model has no texts to answer.")
    table = pq.read_table(io.BytesIO(content), columns=["row_id", "text"])
    texts = dict(zip(table["row_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    path = Paths(root).model(model).relative_to(root).as_posix()
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        target = Path(folder, model)
        dvc_project.read(root, "get", ".", path, "--rev", revision, "--out", str(target))
        runner = open_runner(target, threads=cores())
        best = runner.predict([texts[str(row)] for row in row_ids]).argmax(axis=1)
        return np.array(runner.labels)[best]
