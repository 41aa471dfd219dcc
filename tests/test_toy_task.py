"""A task that is a folder and a line, and nothing else: through the graph, the flow, a review and `winnow predict`."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REPOSITORY, edit_params, make_project, run
from test_end_to_end import STAGES, stages_run

NAME = "toy_task"
YES, NO = {"forest": "yes", "sea": "n"}, {"forest": "y", "sea": "no"}  # two ways to write each


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the toy task in which `winnow reproduce` has run once."""
    project = make_project(tmp_path_factory.mktemp("toy") / "winnow")
    shutil.copytree(
        REPOSITORY / "tests" / NAME, project / "stages/tasks" / NAME, ignore=shutil.ignore_patterns("__pycache__")
    )
    table = project / "stages/tasks/__init__.py"
    table.write_text(table.read_text().replace("TASKS = {\n", f'TASKS = {{\n    "{NAME}": "stages.tasks.{NAME}",\n'))
    corpus = project / "data/corpus.csv"
    rows = list(csv.DictReader(corpus.open(encoding="utf-8")))
    with corpus.open("w", newline="", encoding="utf-8") as file:
        wanted = [row for row in rows if row["topic"] in YES]
        lines = [(row["text"], (YES, NO)[at % 2][row["topic"]]) for at, row in enumerate(wanted)]
        csv.writer(file).writerows([("text", "topic"), *lines, ("the owl under the old moss", "perhaps")])
    edit_params(project, task={"name": NAME, "measure": "right"})
    of_tables = re.compile(r"  - (confusion|validation)-\w+:\n(    .*\n|      .*\n)+")  # plots of text classification
    graph = project / "dvc.yaml"
    graph.write_text(of_tables.sub("", graph.read_text()))
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "a task of its own")
    winnow(project, "reproduce")
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "reproduced")
    return project


def winnow(project: Path, *arguments: str) -> str:
    """What `winnow` prints, with the project's own code: a flow knows the tasks of the code that it is of.

    DVC and the stages start warm.
    """
    code = "import os, sys; sys.executable = os.environ['PYTHON_EXEC']; from flows.cli.commands import main; main()"
    return run(project, sys.executable, "-c", code, *arguments).stdout


def test_every_stage_ran_and_every_model_is_measured(project: Path) -> None:
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert sorted(lock) == sorted(STAGES)
    right = {
        model: json.loads((project / f"metrics/quality/{model}.json").read_text())["right"]
        for model in ("baseline", "static", "probe", "teacher", "student", "pruned", "quantized")
    }
    assert right["baseline"] < 0.7  # the commoner answer
    assert min(right["static"], right["probe"]) > 0.8  # its own loss fits their heads
    assert min(right["teacher"], right["quantized"]) > 0.9


def test_its_targets_are_read_by_its_own_rules(project: Path) -> None:
    assert set(pq.read_table(project / "artifacts/data/clean.parquet")["label"].to_pylist()) == {"yes", "no"}
    refused = pq.read_table(project / "artifacts/data/unreadable.parquet").to_pylist()
    assert [(row["reason"], row["detail"]) for row in refused] == [("bad_target", "'perhaps' is neither yes nor no")]


def test_its_tables_and_figures_stand_beside_the_others(project: Path) -> None:
    tables = project / "artifacts/tables/quantized"
    assert sorted(path.name for path in tables.iterdir()) == ["given.csv", "reliability.csv"]
    description = json.loads((project / "artifacts/models/quantized/model.json").read_text())
    assert (description["task"], description["space"]) == (NAME, {})


def test_winnow_predict_answers_in_its_words(project: Path) -> None:
    asked = ("the bear near a river", "a captain with the anchor")
    assert winnow(project, "predict", *asked).splitlines() == [
        f"yes\t{asked[0]}", f"no\t{asked[1]}"
    ]  # fmt: skip
    as_json = winnow(project, "predict", "--json", asked[0])
    assert json.loads(as_json) == {"text": asked[0], "answer": "yes"}


def test_a_changed_measure_runs_evaluate_and_what_reads_it_and_a_changed_loss_from_finetune_on(project: Path) -> None:
    folder = project / "stages/tasks" / NAME
    would = {}
    for part in ("measures", "learning", "data"):
        text = (folder / f"{part}.py").read_text()
        (folder / f"{part}.py").write_text(f"{text}# changed\n")
        status = run(project, "dvc", "status", "--json").stdout
        would[part] = {name.partition("@")[0] for name in json.loads(status)}
        (folder / f"{part}.py").write_text(text)
    other = project / "stages/tasks/text_classification/measures.py"
    other.write_text(f"{other.read_text()}# changed\n")
    assert json.loads(run(project, "dvc", "status", "--json").stdout) == {}, "of another task nothing runs"
    run(project, "git", "checkout", "-q", "--", "stages")
    assert would["measures"] == {"evaluate", "compare"}
    assert would["learning"] == {"static", "probe", "finetune", "cache_logits", "distill", "prune"}
    assert would["data"] == {"ingest", "clean", "validate", "report"}


def test_a_review_shows_its_measure_and_the_rows_that_turned(project: Path) -> None:
    edit_params(project, finetune__epochs=1, finetune__encoder_learning_rate=1.0e-5, distill__epochs=1, prune__epochs=1)
    ran = stages_run(run(project, "dvc", "repro"))
    assert "finetune" in ran
    winnow(project, "review", "--base", "HEAD")
    told = (project / "artifacts/review/review.md").read_text()
    assert "| quantized | right |" in told
    assert re.search(r"quantized: \d+ worse, \d+ better", told)
