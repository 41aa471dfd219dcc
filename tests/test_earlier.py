"""Revisions before there were several tasks are read and compared as those of today."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import run
from review_fixtures import MEASURES

from flows.dvc import storage
from flows.review import earlier
from flows.review.model_results import confusion, on_common_rows, reliability, results, tables
from flows.review.side import Side
from flows.review.task import project_task, task_of

ROWS = {
    "row_id": ["1", "2", "3"],
    "label": ["sea", "sea", "kitchen"],
    "predicted": ["sea", "kitchen", "kitchen"],
    "slice: length": ["short", "long", "long"],
    "p_sea": [0.9, 0.3, 0.2],
    "p_kitchen": [0.1, 0.7, 0.8],
}
QUALITY = {
    "accuracy": 0.666667,
    "macro_f1": 0.666667,
    "slices": {"length": {"short": {"rows": 1, "accuracy": 1.0, "low": 0.2, "high": 1.0}}},
    "worst_slice": {"name": "length: long", "rows": 2, "accuracy": 0.5},
    "robustness": {"typos": {"rows": 3, "flip_rate": 0.0, "accuracy": 0.6}},
    "fairness": {"groups": {"rates": {"accuracy": {"rows": 2, "accuracy": 0.5}}, "accuracy_gap": 0.1}},
}


def project(folder: Path) -> Side:
    """The outs of an earlier version, and a dvc.lock that names them."""
    files = {
        "artifacts/reliability/teacher.csv": "low,high,rows,confidence,accuracy\n0.8,0.9,3,0.8,0.666667\n",
        "artifacts/confusion/teacher.csv": "actual,predicted\nsea,sea\nsea,kitchen\nkitchen,kitchen\n",
        "metrics/quality/teacher.json": json.dumps(QUALITY),
        "metrics/profile/teacher.json": "{}",
        "params.yaml": "task: text_classification\n",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "artifacts/predictions").mkdir()
    pq.write_table(pa.table(ROWS), folder / "artifacts/predictions/teacher.parquet")
    outs = [
        {"path": path, "md5": storage.md5(folder / path)}
        for path in (*[name for name in files if name.startswith("artifacts")], "artifacts/predictions/teacher.parquet")
    ]
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {"evaluate": {"outs": outs}}}))
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    return Side(folder, None)


def test_earlier_predictions_have_scores_confidence_and_rows_as_units(tmp_path: Path) -> None:
    found = results(project(tmp_path), "teacher")
    assert found.truths.tolist() == ROWS["label"]
    assert found.answers.tolist() == ROWS["predicted"]
    assert found.units.tolist() == found.row_ids.tolist() == ["1", "2", "3"]
    assert found.scores_N.tolist() == [1, 0, 1]
    assert found.confidence_N is not None
    assert found.confidence_N.tolist() == [0.9, 0.7, 0.8]
    assert found.own.keys() == {"p_sea", "p_kitchen", "log_loss", "brier"}
    assert found.own["log_loss"] == pytest.approx(-np.log([0.9, 0.3, 0.8]))
    assert found.own["brier"] == pytest.approx([0.1**2 + 0.1**2, 0.7**2 + 0.7**2, 0.2**2 + 0.2**2])
    assert {name: mask.tolist() for name, mask in found.slices.items()} == {
        "length: short": [True, False, False],
        "length: long": [False, True, True],
    }
    assert found.task == "text_classification"


def test_earlier_results_are_compared_with_those_of_today(tmp_path: Path) -> None:
    old = results(project(tmp_path), "teacher")
    own = {name: np.array(ROWS[name]) for name in ("p_sea", "p_kitchen")}
    new = old.of_rows(np.arange(3))
    new = type(new)(
        row_ids=new.row_ids, units=new.units, truths=new.truths, answers=new.truths, scores_N=np.ones(3), own=own
    )
    notes: list[str] = []
    pair = on_common_rows("teacher", old, new, notes)
    assert pair is not None
    assert notes == []
    assert (pair[1].scores_N - pair[0].scores_N).tolist() == [0, 1, 0]


def test_earlier_tables_were_outs_by_themselves(tmp_path: Path) -> None:
    found = tables(project(tmp_path), "teacher")
    assert confusion(found) == [("kitchen", "kitchen", 1), ("sea", "kitchen", 1), ("sea", "sea", 1)]
    assert reliability(found) == [{"low": 0.8, "high": 0.9, "rows": 3.0, "confidence": 0.8, "score": 0.666667}]


def test_the_mean_of_scores_was_called_accuracy_and_the_measure_of_that_name_stays() -> None:
    found = earlier.quality(QUALITY)
    assert found["accuracy"] == 0.666667
    assert found["slices"]["length"]["short"]["score"] == 1.0
    assert found["worst_slice"]["score"] == 0.5
    assert found["robustness"]["typos"]["score"] == 0.6
    assert found["fairness"]["groups"] == {"rates": {"accuracy": {"rows": 2, "score": 0.5}}, "score_gap": 0.1}
    assert earlier.quality(found) == found


def test_the_record_of_several_seeds_had_intervals_of_accuracy_alone() -> None:
    figures = {"mean": 0.5, "std": 0.1, "seeds": [0.4, 0.6]}
    ends, apart = {"low": 0.3, "high": 0.6}, {**figures, "low": -0.1, "high": 0.1}
    models = {"quantized": {"accuracy": figures, "macro_f1": figures, "one_run": ends, "against_teacher": apart}}
    aside = {"labels": ["a"], "held_out": {"rows": 4, "models": models}, "test_rows_of_these_labels": None}
    found = earlier.seeds({"seeds": [1, 2], "held_out": aside})
    assert found["held_out"]["classes"] == ["a"]
    assert found["held_out"]["test_rows_of_these_classes"] is None
    own = found["held_out"]["held_out"]["models"]["quantized"]
    assert own["accuracy"] == {**figures, "one_run": ends}
    assert own["against_teacher"] == {"accuracy": apart}
    assert earlier.seeds(found) == found


def test_the_task_of_a_revision_is_that_of_its_parameters_and_the_first_where_they_name_none(tmp_path: Path) -> None:
    assert task_of({"task": {"name": "token_classification"}}) == "token_classification"
    assert task_of({"task": "text_classification"}) == task_of({}) == task_of({"task": 3}) == "text_classification"
    (tmp_path / "params.yaml").write_text("<<<<<<< HEAD\n")
    assert project_task(tmp_path) == (MEASURES, None)
    (tmp_path / "params.yaml").write_text("task: {name: text_classification, measure: accuracy}\n")
    assert project_task(tmp_path) == (MEASURES, "accuracy")
