"""Which rows a stage learns from, and which it only looks at: none sees a test row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY

from stages import quantize
from stages.core.contracts import Outputs, Runner
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.reading.clean_rows import read_split, texts_of
from stages.tasks.text_classification.answers import ANSWERS

SPLITS = ("train", "validation", "test")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Five clean rows of each split, whose texts name it."""
    paths = Paths(tmp_path)
    paths.clean.parent.mkdir(parents=True)
    splits = [split for split in SPLITS for _ in range(5)]
    texts = [f"{split} {number}" for number, split in enumerate(splits)]
    pq.write_table(pa.table({"row_id": texts, "text": texts, "label": ["a"] * 15, "split": splits}), paths.clean)
    return paths


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_has_its_own_rows_alone(paths: Paths, split: str) -> None:
    assert [text.split()[0] for text in texts_of(read_split(paths.clean, split))] == [split] * 5


def test_ranges_are_learned_from_training_rows_and_judged_on_validation_rows(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = Runner("any", {"labels": ["a", "b"]}, lambda texts: Outputs(np.tile([0.75, 0.25], (len(texts), 1))))
    monkeypatch.setattr(quantize, "open_runner", lambda *_, **__: exact)
    params = load_params(REPOSITORY / "params.yaml")
    params = params.model_copy(update={"quantize": params.quantize.model_copy(update={"calibration_rows": 3})})
    validation = texts_of(read_split(paths.clean, "validation"))
    rows, truths = quantize._rows(ANSWERS, params, paths)
    assert list(rows.calibration) == ["train 0", "train 2", "train 4"], "from all over them"
    assert list(rows.validation) == list(validation)
    assert truths == read_split(paths.clean, "validation")["label"].to_pylist()
