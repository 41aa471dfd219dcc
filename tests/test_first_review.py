"""The first review of a project: nothing is there to compare with, and what to do is said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows.reproduce import _show_differences
from flows.review.revisions import default_base


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A project after its first run: nothing is committed, and its rows are DVC's."""
    git(tmp_path, "init", "-q", "-b", "main")
    for value in (("user.email", "tests@localhost"), ("user.name", "tests")):
        git(tmp_path, "config", *value)
    files = ("params.yaml", "dvc.yaml", "dvc.lock", "metrics/quality.json", "artifacts/model")
    for name in (*files, "data/rows.csv", "data/rows.csv.dvc", "more rows/other.csv.dvc", "stages/own.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a: 1\n")
    (tmp_path / ".gitignore").write_text("/artifacts\n")
    (tmp_path / "data/.gitignore").write_text("/rows.csv\n")
    return tmp_path


def test_on_a_branch_that_adds_the_project_a_run_is_compared_with_the_one_before(fresh: Path):
    (fresh / "app.py").write_text("print()")
    git(fresh, "add", "app.py")
    git(fresh, "commit", "-qm", "The shop, without any model")
    git(fresh, "switch", "-qc", "try")
    git(fresh, "add", "-A")
    git(fresh, "commit", "-qm", "First run")
    (fresh / "params.yaml").write_text("a: 2\n")
    assert default_base(fresh) == "HEAD"
    git(fresh, "commit", "-qam", "Second run")
    assert default_base(fresh) == "HEAD~1"
    git(fresh, "switch", "-q", "main")
    git(fresh, "merge", "-q", "--no-edit", "try")
    git(fresh, "switch", "-qc", "later")
    git(fresh, "commit", "-qm", "Third run", "--allow-empty")
    assert default_base(fresh) == git(fresh, "rev-parse", "main").strip()


def test_without_a_commit_it_is_said_how_to_make_one_and_data_stays_out_of_git(fresh: Path):
    with pytest.raises(ValueError, match="no commit yet to compare with") as raised:
        default_base(fresh)
    said, _, command = str(raised.value).removesuffix("`").partition("`")
    assert said == "there is no commit yet to compare with. Commit this run, and each later one is compared with it: "
    subprocess.run(["sh", "-ec", command], cwd=fresh / "data", check=True, capture_output=True)
    files = set(git(fresh, "ls-files").split())
    assert {"params.yaml", "dvc.lock", "metrics/quality.json", "data/rows.csv.dvc", "data/.gitignore"} <= files
    assert {"stages/own.py", "rows/other.csv.dvc"} <= files
    assert not {"data/rows.csv", "artifacts/model"} & files
    assert git(fresh, "status", "--short") == ""

    with pytest.raises(
        ValueError, match="nothing to compare yet: there is one commit of this project, and nothing has"
    ):
        default_base(fresh)
    (fresh / "params.yaml").write_text("a: 2\n")
    assert default_base(fresh) == "HEAD"
    git(fresh, "commit", "-qam", "second")
    assert default_base(fresh) == "HEAD~1"


def test_a_shallow_clone_is_told_where_its_history_is(fresh: Path, tmp_path_factory: pytest.TempPathFactory):
    for message in ("first", "second"):
        git(fresh, "commit", "-q", "--allow-empty", "-m", message)
    clone = tmp_path_factory.mktemp("shallow") / "clone"
    git(fresh, "clone", "-q", "--depth", "1", f"file://{fresh}", str(clone))
    with pytest.raises(ValueError, match=r"Name one: winnow review --base REV\. This clone is shallow"):
        default_base(clone)


def test_a_run_that_has_nothing_to_compare_with_does_not_say_that_it_writes_a_review(fresh: Path):
    said: list[str] = []
    _show_differences(fresh, ["evaluate@quantized"], said.append)
    [line] = said
    assert line.startswith("no review: there is no commit yet to compare with. Commit this run, ")


def test_a_project_that_is_new_in_a_repository_with_commits_has_nothing_to_compare_with_either(fresh: Path):
    git(fresh, "commit", "-q", "--allow-empty", "-m", "of something else")
    project = fresh / "reviews"
    project.mkdir()
    (project / "params.yaml").write_text("a: 1\n")
    with pytest.raises(ValueError, match="no commit yet to compare with"):
        default_base(project)
    git(fresh, "add", "reviews")
    git(fresh, "commit", "-qm", "the project")
    with pytest.raises(ValueError, match="nothing to compare yet"):
        default_base(project)
    (project / "params.yaml").write_text("a: 2\n")
    assert default_base(project) == "HEAD"
