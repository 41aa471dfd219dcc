"""flows.review.shown_measures: what the table says of a task's measures, without the second that loading them takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import edit_params
from flow_fixtures import ROOT, environment

from flows.review import shown_measures
from flows.review.shown_measures import shown_task
from flows.review.task import judged_first, task_measures
from stages.tasks import TASKS

KEPT = ".dvc/tmp/winnow/measures-text_classification.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with as much of a project as the table looks at."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / ".dvc").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", TASKS)
def test_it_is_what_the_task_says_before_and_after_it_is_kept(project: Path, name: str):
    task = task_measures(name)
    for judged in (task.measures[0].name, task.measures[-1].name):
        edit_params(project, task__name=name, task__measure=judged)
        for _ in range(2):
            shown = shown_task(project)
            assert shown.kind == task.kind
            assert shown.measures[-1].name == judged
            measures = [(one.name, one.title, one.unit, one.better, one.binary) for one in judged_first(task, judged)]
            assert list(shown.measures) == measures[::-1]


def test_what_is_kept_is_read_without_loading_the_task_until_code_of_tasks_changes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shown = shown_task(project)
    code = "import sys; from pathlib import Path; from flows.review import metrics; metrics.rows(Path()); "
    command = [sys.executable, "-c", f"{code}print('sklearn' in sys.modules)"]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    loaded: list[str] = []
    monkeypatch.setattr(shown_measures, "task_measures", lambda name: loaded.append(name) or task_measures(name))
    assert shown_task(project) == shown
    assert loaded == []
    changed = tmp_path / "tasks"
    changed.mkdir()
    (changed / "measures.py").touch()
    monkeypatch.setattr(shown_measures, "CODE", changed)
    assert shown_task(project) == shown_task(project) == shown
    assert loaded == ["text_classification"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"code": 1', "\x00"])
def test_a_torn_file_is_written_again(project: Path, content: str):
    shown = shown_task(project)
    whole = (project / KEPT).read_text()
    (project / KEPT).write_text(content)
    assert shown_task(project) == shown
    assert (project / KEPT).read_text() == whole


def test_nothing_is_kept_where_dvc_has_no_folder(project: Path):
    (project / ".dvc").rmdir()
    assert shown_task(project).kind == "label"
    assert not (project / ".dvc").exists()
