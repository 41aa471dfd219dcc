"""What git leaves out of a commit, with git and DVC themselves."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY, init_repository, run

from flows.retraining.refresh import _from_checkout
from flows.running import git


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    init_repository(folder)
    shutil.copy(REPOSITORY / ".gitignore", folder)
    for name in ("data/reviews.csv", "data/parts/a.jsonl", "dvc_plots/index.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"private: {name}\n")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A repository with this one's .gitignore, rows and DVC's plots, of which nothing is committed."""
    return shutil.copytree(template, tmp_path / "project")


def in_git(project: Path, *folders: str) -> list[str]:
    return run(project, "git", "ls-files", "--", *folders).stdout.split()


def test_rows_and_plots_are_not_committed_unasked(project: Path) -> None:
    run(project, "git", "add", "-A")
    assert in_git(project, "data", "dvc_plots") == []


def test_what_dvc_writes_for_rows_in_data_is_added_without_force(project: Path) -> None:
    run(project, "dvc", "add", "-q", "data/reviews.csv", "data/parts/a.jsonl")
    run(project, "git", "add", "data/reviews.csv.dvc", "data/parts/a.jsonl.dvc")
    run(project, "git", "add", "-A")
    assert in_git(project, "data") == ["data/parts/a.jsonl.dvc", "data/reviews.csv.dvc"]


def test_dvc_keeps_data_as_a_whole_too(project: Path) -> None:
    run(project, "dvc", "add", "-q", "data")
    run(project, "git", "add", "data.dvc", ".gitignore")
    run(project, "git", "add", "-A")
    assert in_git(project, "data", "data.dvc") == ["data.dvc"]


def test_rows_that_git_keeps_by_force_go_into_a_proposal_and_ignored_ones_are_named(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run(project, "git", "add", "--force", "data/reviews.csv", ".gitignore")
    run(project, "git", "commit", "-qm", "start")
    worktree = tmp_path_factory.mktemp("worktree") / "at"
    run(project, "git", "worktree", "add", "-q", "--detach", str(worktree))
    (project / "data/more.csv").write_text("more\n")
    run(project, "git", "add", "--force", "data/more.csv")
    told: list[str] = []
    start = git.commit_of(project, "HEAD")
    assert list(_from_checkout(project, worktree, start, Path("data"), told.append)) == [
        "data: 1 file changed in the clone"
    ]
    assert in_git(worktree, "data") == ["data/more.csv", "data/reviews.csv"]
    assert told == ["data/parts/a.jsonl: git ignores 1, so they are no data. `git add --force` keeps one."]


def test_a_file_name_that_git_would_take_for_a_pattern_is_a_file_name(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run(project, "git", "add", ".gitignore")
    (project / ":rows").mkdir()
    (project / ":rows/:(top)a.csv").write_text("one\n")
    run(project, "git", "--literal-pathspecs", "add", ":rows")
    run(project, "git", "commit", "-qm", "start")
    worktree = tmp_path_factory.mktemp("worktree") / "at"
    run(project, "git", "worktree", "add", "-q", "--detach", str(worktree))
    (project / ":rows/:!b.csv").write_text("more\n")
    start = git.commit_of(project, "HEAD")
    assert list(_from_checkout(project, worktree, start, Path(":rows"), print)) == [
        ":rows: 1 file changed in the clone"
    ]
    assert run(worktree, "git", "ls-files", "-z", "--", "./:rows").stdout.split("\0") == [
        ":rows/:!b.csv",
        ":rows/:(top)a.csv",
        "",
    ]


def test_no_page_and_no_message_says_to_commit_whatever_lies_there() -> None:
    places = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("flows/**/*.py")]
    places += REPOSITORY.glob("stages/**/*.py")
    # (The first commit of an unpacked archive has nothing to hide: .gitignore is in it.)
    everything = re.compile(r"(?<!git init && )git add (-A|--all|\.(?!\w))|git commit (-\w*a|--all)")
    assert [path.name for path in places if everything.search(path.read_text(encoding="utf-8"))] == []
