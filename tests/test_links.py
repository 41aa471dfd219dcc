"""Links among data: never followed, whether a stage reads them or a retraining takes them along."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, edit_params, run
from source_fixtures import read, settings

from flows.retraining.refresh import refresh
from flows.running.processes import Children
from stages.core.params.file import load_params
from stages.sources import hub

PRIVATE = "access = 0af1"
ROWS = "text,label\n" + "".join(f"a text number {number},a\n" for number in range(9))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a file that is nobody's data."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "secret.csv").write_text(f"text,label\n{PRIVATE},a\n")
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/rows.csv, in which a stage runs."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (root / "data/rows.csv").write_text(ROWS)
    monkeypatch.chdir(root)
    return root


def link(place: str, target: str):
    """What puts a link of that name into a project, to a path from the folder beside it."""

    def put(root: Path) -> None:
        path = root / place
        if path.exists():
            path.rename(root / "moved")
        path.symlink_to(root.parent / target)

    return put


LINKS = {
    "a file": ("data/more.csv", "home/secret.csv", "home/secret.csv. "),
    "a folder": ("data/more", "home", "home. "),
    "a file that is no data": ("data/notes.md", "home/secret.csv", "home/secret.csv. "),
    "nothing": ("data/more.csv", "home/gone.csv", "home/gone.csv, which is not there. "),
    "within the folder": ("data/more.csv", "project/data/rows.csv", "project/data/rows.csv. "),
    "the folder itself": ("data", "home", "home. "),
    "what is named like a cache's object": ("data/more.csv", "home/ab/" + "cd" * 15, ", which is not there. "),
}
each_link = pytest.mark.parametrize(("place", "target", "said"), LINKS.values(), ids=LINKS.keys())


@each_link
def test_the_reader_refuses_a_link_in_one_line_that_names_it(
    project: Path, outside: Path, place: str, target: str, said: str
):
    link(place, target)(project)
    with pytest.raises(ValueError) as caught:
        read("data")
    assert str(caught.value).startswith(f"{place} is a link to {project.parent}")
    assert said in str(caught.value)
    assert str(caught.value).endswith(f"Put the files themselves there, or remove it: rm {place}")
    assert "\n" not in str(caught.value)


def test_a_link_as_the_path_itself_and_on_the_way_to_it_is_refused(project: Path, outside: Path):
    (project / "alias.csv").symlink_to(outside / "secret.csv")
    (project / "way").symlink_to(outside)
    for path, named in (("alias.csv", "alias.csv"), ("way/secret.csv", "way")):
        with pytest.raises(ValueError, match=f"^{named} is a link to "):
            read(path)


def test_a_dataset_folder_with_a_link_is_refused(project: Path, outside: Path):
    (project / "data/train.csv").symlink_to(outside / "secret.csv")
    with pytest.raises(ValueError, match=r"^data/train\.csv is a link to "):
        list(hub.read(settings("data"), 0))


def test_what_an_absolute_path_leads_over_is_its_owners_choice(project: Path, tmp_path: Path):
    (tmp_path / "disk").symlink_to(project / "data")
    assert len(read(tmp_path / "disk")) == 9


def test_links_that_dvc_makes_to_its_cache_are_read(project: Path):
    """As `dvc add` leaves them where cache.type is symlink."""
    cached = project / ".dvc/cache/files/md5/ab" / ("cd" * 15)
    cached.parent.mkdir(parents=True)
    (project / "data/rows.csv").rename(cached)
    (project / "data/rows.csv").symlink_to(cached)
    assert len(read("data")) == 9


# retraining


@pytest.fixture
def clone(project: Path) -> tuple[Path, Path]:
    """A clone whose folder data is in git, and a worktree of its commit."""
    shutil.copyfile(REPOSITORY / "params.yaml", project / "params.yaml")
    edit_params(project, ingest__source="files", ingest__path="data", ingest__columns__label="label")
    git(project, "init", "-q")
    git(project, "add", "--all")
    git(project, "commit", "-qm", "start")
    return project, worktree_of(project)


def git(folder: Path, *arguments: str) -> None:
    run(folder, "git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", *arguments)


def worktree_of(project: Path) -> Path:
    git(project, "worktree", "add", "-q", "../worktree")
    return project.parent / "worktree"


def refreshed(clone: tuple[Path, Path]) -> tuple[str, ...]:
    root, worktree = clone
    with Children() as children:
        return refresh(root, worktree, "HEAD", load_params(worktree / "params.yaml"), lambda _: None, children)


def content(folder: Path) -> str:
    """All that a folder's files and links hold."""
    listed = subprocess.run(["grep", "-R", "", "."], cwd=folder, capture_output=True, text=True, check=False)
    return listed.stdout


@each_link
@pytest.mark.parametrize("kept", [False, True], ids=["untracked", "in git"])
def test_a_retraining_takes_no_link_along(
    clone: tuple[Path, Path], outside: Path, place: str, target: str, said: str, kept: bool
):
    root, worktree = clone
    (root / "data/rows.csv").write_text(f"{ROWS}a new text,b\n")
    link(place, target)(root)
    if kept:
        git(root, "add", "--all", "data")
    before = content(worktree / "data")
    with pytest.raises(ValueError, match=f"^{place} is a link to "):
        refreshed(clone)
    assert content(worktree / "data") == before, "nothing is half done"
    assert PRIVATE not in before


def test_what_changed_is_not_written_through_a_link_that_the_branch_has(clone: tuple[Path, Path], outside: Path):
    root, worktree = clone
    (worktree / "data/rows.csv").unlink()
    (worktree / "data").rmdir()
    (worktree / "data").symlink_to(outside)
    edit_params(worktree, ingest__path="data/secret.csv")
    (root / "data/secret.csv").write_text(ROWS)
    git(root, "add", "data/secret.csv")
    with pytest.raises(ValueError, match=r"^data is a link to "):
        refreshed(clone)
    assert PRIVATE in (outside / "secret.csv").read_text()


def test_a_retraining_takes_no_link_along_in_what_dvc_keeps(clone: tuple[Path, Path], outside: Path):
    root, worktree = clone
    shutil.rmtree(worktree / "data")
    (worktree / "data.dvc").write_text("outs: [{path: data, md5: 0123.dir}]\n")
    (root / "data/more.csv").symlink_to(outside / "secret.csv")
    with pytest.raises(ValueError, match=r"^data/more\.csv is a link to "):
        refreshed(clone)
    assert not (worktree / "data").exists()
