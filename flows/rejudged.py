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
from stages.paths import Paths


def rejudged(root: Path, revision: str) -> Callable[[Results], Results]:
    """What gives the results of the model released at `revision` on a candidate's rows in the project at `root`.

    Where the rows are those that it was released with, its answers of then; else it answers all of them anew.
    """

    def on_rows_of(candidate: Results) -> Results:
        before = Side(root, revision)
        # What was released, whatever this project would release now.
        model = str(before.yaml(root / "params.yaml")["promotion"]["model"])
        known = results(before, model)
        if before.hash_of(Paths(root).clean) == Side(root, None).hash_of(Paths(root).clean) is not None:
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
    # In the worktree, which is removed also after a run that was killed.
    with tempfile.TemporaryDirectory(dir=root / ".dvc") as folder:
        target = Path(folder, model)
        dvc_project.read(root, "get", ".", path, "--rev", revision, "--out", str(target))
        runner = open_runner(target, threads=cores())
        best = runner.predict([texts[str(row)] for row in row_ids]).argmax(axis=1)
        return np.array(runner.labels)[best]
