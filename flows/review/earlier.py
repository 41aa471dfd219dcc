"""The files of revisions before there were several tasks, in the form that they have now. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.tasks.contract import TaskMeasures

RENAMED = {"accuracy": "score", "accuracy_gap": "score_gap"}  # of the sections below; elsewhere it is a measure
SECTIONS = ("slices", "worst_slice", "robustness", "fairness")
PROBABILITY = "p_"  # of a class, by its name

Columns = Mapping[str, np.ndarray]


def quality(found: Mapping[str, Any]) -> dict[str, Any]:
    """metrics/quality: the mean of scores was called as the measure that it is."""
    return {key: _renamed(value) if key in SECTIONS else value for key, value in found.items()}


def _renamed(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {RENAMED.get(key, key) if not isinstance(of, Mapping) else key: _renamed(of) for key, of in value.items()}


def bins(found: Mapping[str, float]) -> dict[str, float]:
    """A line of the table `reliability`."""
    return {RENAMED.get(key, key): value for key, value in found.items()}


def predictions(columns: Columns, task: TaskMeasures) -> dict[str, np.ndarray]:
    """The columns of artifacts/predictions: `label` and `predicted` were the truth and the answer, each row a unit."""
    if "truth" in columns:
        return dict(columns)
    others = {name: values for name, values in columns.items() if name not in ("label", "predicted")}
    sure = [values for name, values in others.items() if name.startswith(PROBABILITY)]
    truths, answers = columns["label"], columns["predicted"]
    return {
        **others,
        "truth": truths,
        "answer": answers,
        "unit": columns["row_id"],
        "score": task.scores(truths.tolist(), answers.tolist()),
        **({"confidence": np.max(sure, axis=0)} if sure else {}),
        **_of_rows(others, truths),
    }


def _of_rows(columns: Columns, truths: np.ndarray) -> dict[str, np.ndarray]:
    """The rows' own numbers, from the probability of each class; none where a truth has no such column."""
    given = {name.removeprefix(PROBABILITY): values for name, values in columns.items() if name.startswith(PROBABILITY)}
    if not given or not {*truths.tolist()} <= given.keys():
        return {}
    of_truth = np.array([given[truth][row] for row, truth in enumerate(truths.tolist())])
    squares = np.sum([np.square(values) for values in given.values()], axis=0)
    return {"log_loss": -np.log(np.maximum(of_truth, 1e-6)), "brier": squares - 2 * of_truth + 1}  # six digits


def seeds(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """metrics/seeds.json: on the rows set aside there were intervals of one measure alone."""
    aside = record.get("held_out")
    if not aside or "classes" in aside:
        return record
    parts = {"held_out": aside["held_out"], "test_rows_of_these_classes": aside["test_rows_of_these_labels"]}
    return {
        **record,
        "held_out": {
            "classes": aside["labels"],
            **{name: part and {**part, "models": _set_aside(part["models"])} for name, part in parts.items()},
        },
    }


def _set_aside(models: Mapping[str, Any]) -> dict[str, Any]:
    measure = next(iter(RENAMED))
    return {
        name: {
            **{key: of for key, of in own.items() if key != "one_run"},
            measure: {**own[measure], "one_run": own["one_run"]},
            "against_teacher": {measure: own["against_teacher"]},
        }
        for name, own in models.items()
    }
