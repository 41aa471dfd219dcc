"""`winnow debias`: which ways are compared, the table's figures by hand, and (slow) all of it on the tiny corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, edit_params, make_project, run
from review_fixtures import MEASURES

from flows.experiments import debiasing
from stages.core.params.file import Params, load_params

PARAMS = load_params(REPOSITORY / "params.yaml")


def with_values(**changes: Any) -> Params:
    values = PARAMS.model_dump(by_alias=True)
    return Params.model_validate(values | {name: values[name] | own for name, own in changes.items()})


def test_the_ways_that_are_compared_are_those_that_go_with_the_project() -> None:
    assert debiasing.methods_of(PARAMS) == ["none", "counterfactual"]
    grouped = {"debias": {"group_column": "identity_words"}}
    assert debiasing.methods_of(with_values(**grouped)) == [
        "none", "counterfactual", "reweighing", "group_balanced", "worst_group", "adversarial",
    ]  # fmt: skip
    no_swaps = {"debias": {"group_column": "topic", "swaps": []}, "ingest": {"keep_columns": ["topic"]}}
    assert "counterfactual" not in debiasing.methods_of(with_values(**no_swaps))
    numbers = with_values(**grouped, task={"name": "regression", "measure": "pearson"})
    assert "reweighing" not in debiasing.methods_of(numbers)
    assert debiasing.methods_of(with_values(task={"name": "token_classification", "measure": "entity_f1"})) == ["none"]


def of_run(score: float, flips: float, worst: float | None) -> dict[str, Any]:
    swaps = {"rows": 40, "flip_rate": flips, "low": flips - 0.1, "high": flips + 0.1}
    groups = {} if worst is None else {
        "score_gap": 0.2, "odds_gap": 0.3, "worst_group": {"score": worst, "low": worst - 0.2, "high": worst + 0.2},
        "intervals": {name: {"low": 0.1, "high": 0.4} for name in ("score_gap", "odds_gap")},
    }  # fmt: skip
    one = {"accuracy": score, "fairness": {"identity_swaps": swaps, **({"groups": groups} if groups else {})}}
    return {"teacher": one, "quantized": one}


def found(*, worst: float | None, seeds: int = 2) -> debiasing.Found:
    quality = {
        "none": [of_run(0.80, 0.40, worst), of_run(0.82, 0.50, worst)][:seeds],
        "counterfactual": [of_run(0.79, 0.10, worst), of_run(0.82, 0.10, worst)][:seeds],
    }
    return debiasing.Found((20, 21)[:seeds], MEASURES.measure("accuracy"), 0.95, quality)


def test_a_row_has_means_intervals_and_the_change_from_none_by_the_seeds() -> None:
    page = debiasing.as_markdown(found(worst=None))
    # changes of -0.01 and 0 points of accuracy: a mean of -0.5, a deviation of 0.707, t = 12.706 of one degree
    assert "| none | 81.0% | - | 45.0% (35.0% to 55.0%) | - |" in page
    assert "| counterfactual | 80.5% | -0.5 ± 6.4 | 10.0% (0.0% to 20.0%) | -35.0 ± 63.5 |" in page
    assert "worst group" not in page
    assert page.count("## ") == 2


def test_groups_have_columns_where_there_are_groups_and_one_seed_has_no_interval() -> None:
    page = debiasing.as_markdown(found(worst=0.5, seeds=1))
    heads = (
        "| method | Accuracy | change in accuracy | answers that a swap changes | change | gap between groups | change"
    )
    assert heads in page
    assert "| counterfactual | 79.0% | -1.0 |" in page
    assert "50.0% (30.0% to 70.0%)" in page
    assert "of one seed, so that chance is not told apart" in page


@pytest.mark.slow
def test_the_page_is_made_of_real_runs(tmp_path: Path) -> None:
    project = make_project(tmp_path / "winnow")
    edit_params(project, debias__swaps=[["old", "small"]], evaluate__identity_swaps=[["old", "small"]])
    run(project, "git", "commit", "-qam", "words that the corpus has")
    run(project, "winnow", "debias", "--seeds", "1")
    record = json.loads((project / "docs/debias.json").read_text())
    assert record["methods"].keys() == {"none", "counterfactual"}
    for runs in record["methods"].values():
        assert runs[0]["quantized"]["fairness"]["identity_swaps"]["rows"] > 0
    assert run(project, "git", "status", "--porcelain", "params.yaml", "dvc.lock").stdout == ""
