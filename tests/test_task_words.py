"""Nothing outside the folders of tasks speaks of one: stages and flows know measures, scores, answers and truths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

from stages.core import plugins
from stages.core.params.task import TaskParams
from stages.tasks import FORMERLY, TASKS
from stages.tasks.contract import TaskSettings

WORDS = (
    "classif", "multi-?label", "macro_?f1", "macro-f1", "micro_?f1", "micro-f1", "hamming", "subset_accuracy",
    "argmax", "log_loss", "brier", r"\bper_label", r"\bper_type", "entity_f1",
    "entities", "tagger", "sentiment", "pearson", "softmax", "sigmoid", "cross_entropy", "confusion",
    "spearman", "ndcg", "bm25", "recall_at", r"\bmrr\b", "info_?nce", "contrastive",
    "question.?answer", "squad", "answerable", "exact_match", "token_f1",
    *(f"[\"'./]{name}\\b" for name in (*TASKS, *filter(None, FORMERLY))),
)  # fmt: skip
# What means another thing there, or draws a table that a task may give.
OTHERWISE = {
    "stages/cleaning": {"entities", "classif"},  # HTML's; a library that tells languages
    "stages/reading": {"squad"},  # the layout of files
    "stages/compression/recipe.py": {"contrastive"},  # finetune.method
    "stages/core/params": {"contrastive"},  # the same
    "stages/finetune.py": {"contrastive"},  # the same
    "stages/training/teaching.py": {"contrastive"},  # the same
    "stages/training/contrastive.py": {"contrastive", "softmax"},  # the same; over the others of a batch
    "stages/training/distillation.py": {"softmax"},  # of attention's relations
    "stages/training/adversary.py": {"cross_entropy"},  # of its guess whom a row is about
    "stages/decoding": {"softmax", "argmax"},  # of the next token
    "stages/backends/onnxruntime_int8/clip.py": {"argmax"},  # where the token is that ends a text
    "flows/projects/telling.py": {"argmax"},  # of a naive Bayes that only looks at a table
    "flows/review/earlier.py": {"log_loss", "brier"},  # of files of earlier versions
    "flows/demo/tables.py": {"entities"},  # HTML's
    "flows/review": {"confusion"},  # the matrix is drawn of a task's table of that name
}
FILES = sorted(
    path.relative_to(REPOSITORY)
    for top in ("stages", "flows")
    for path in (REPOSITORY / top).rglob("*.py")
    if not path.is_relative_to(REPOSITORY / "stages/tasks")
)


def allowed_in(path: Path) -> set[str]:
    return {word for place, words in OTHERWISE.items() if path.is_relative_to(place) for word in words}


@pytest.mark.parametrize("word", WORDS)
def test_no_word_of_a_task_stands_outside_the_tasks(word: str) -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in FILES
        if word not in allowed_in(path)
        for number, line in enumerate((REPOSITORY / path).read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(word, line, re.IGNORECASE)
    ]
    assert found == []


def test_what_is_let_off_is_still_there() -> None:
    for place, words in OTHERWISE.items():
        text = "\n".join((REPOSITORY / path).read_text() for path in FILES if path.is_relative_to(place)).lower()
        assert [word for word in words if word not in text] == [], place


@pytest.mark.parametrize("name", TASKS)
def test_a_task_imports_its_own_folder_the_contract_and_what_is_shared(name: str) -> None:
    for path in (REPOSITORY / "stages/tasks" / name).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        modules = re.findall(r"^\s*(?:from|import) (stages\.tasks[\w.]*)", text, re.MULTILINE)
        own = (f"stages.tasks.{name}", "stages.tasks.contract", "stages.tasks.shared")
        assert [module for module in modules if not module.startswith(own)] == [], path


@pytest.mark.parametrize("name", TASKS)
def test_each_measure_of_a_task_can_be_the_one_that_judges(name: str) -> None:
    settings: TaskSettings = plugins.part(TASKS, name, "settings", key="task.name")
    for measure in settings.measures:
        assert TaskParams.model_validate({"name": name, "measure": measure}).measure == measure
