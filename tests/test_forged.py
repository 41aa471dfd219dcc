"""A proposal from whoever may push branches: what it says of itself counts for nothing, and it may change only data."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, edit_params, init_repository, run

from flows.releases.releases import Release
from flows.retraining import proposal_records, proposals
from flows.retraining.job import Job
from flows.retraining.proposal_files import misplaced, more_than_results, refusal
from flows.retraining.proposal_records import Judged
from flows.retraining.starting import start_of, tell_what_stays
from flows.running.git import GitError
from flows.running.processes import Children

PARAMS = """\
ingest:
  path: data/corpus.csv   # rows
  hub:
    dataset: a/b
    revision: a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1  # of the dataset
model:
  revision: a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2
"""
POINTER = """\
outs:
- md5: 0cc175b9c0f1b6a831c399e269772661
  size: 1
  hash: md5
  path: corpus.csv
"""
FILES = {
    "params.yaml": PARAMS,
    "dvc.lock": "schema: '2.0'\nstages: {}\n",
    "metrics/quality/baseline.json": "{}\n",
    "metrics/run.sh": "true\n",
    "data/corpus.csv": "a,b\n",
    "data/corpus.csv.dvc": POINTER,
    "tiny/weights.dvc": POINTER,
    "stages/clean.py": "1\n",
    ".github/workflows/test.yml": "on: push\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one commit, on the branch main."""
    for command in ("init -q -b main", "config user.name tests", "config user.email tests@localhost"):
        run(tmp_path, "git", *command.split())
    for name, text in FILES.items():
        write(tmp_path, name, text)
    commit(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments).stdout.strip()


def commit(folder: Path, message: str = "Retrain: all is well\n\nWinnow-Gate: pass") -> str:
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        write(folder, name, text.replace(old, new))

    return spoil


def link(name: str, target: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return spoil


def executable(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).chmod(stat.S_IRWXU)


def submodule(folder: Path) -> None:
    nested = folder / "metrics/other.json"
    run(folder, "git", "init", "-q", str(nested))
    run(nested, "git", "-c", "user.name=o", "-c", "user.email=o@localhost", "commit", "-q", "--allow-empty", "-m", "o")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write(folder, "dvc.lock", "schema: '2.0'\nstages: {a: {cmd: b}}\n"),
        lambda folder: write(folder, "metrics/quality/student.json", "{}\n"),
        lambda folder: write(folder, "data/corpus.csv", "a,b\nc,d\n"),
        replaced("params.yaml", "a1" * 20, "b1" * 20),
        replaced(
            "data/corpus.csv.dvc", "md5: 0cc175b9c0f1b6a831c399e269772661\n  size: 1", "md5: '92eb5ffe'\n  size: 2"
        ),
    ],
    ids=["dvc.lock", "metrics", "rows", "the revision on the Hub", "the hash of the data"],
)
def test_data_and_results_are_what_a_proposal_may_change(project: Path, change: Callable[[Path], None]) -> None:
    base = git(project, "rev-parse", "HEAD")
    change(project)
    assert refusal(project, commit(project), base) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: write(folder, "notes.txt", "x"), "notes.txt is neither data nor a result"),
        (lambda folder: write(folder, "metrics/evil.py", "x"), "metrics/evil.py is neither"),
        (lambda folder: write(folder, "metrics/dvc.yaml", "x"), "metrics/dvc.yaml is neither"),
        (lambda folder: write(folder, "data/dvc.lock", "x"), "data/dvc.lock is neither"),
        (lambda folder: write(folder, "data/other.csv", "x"), "data/other.csv is neither"),
        (lambda folder: write(folder, "data/.gitattributes", "x"), "data/.gitattributes is nothing"),
        (lambda folder: write(folder, ".dvc/config", "x"), ".dvc/config is nothing"),
        (replaced("stages/clean.py", "1", "2"), "stages/clean.py is neither"),
        (replaced(".github/workflows/test.yml", "push", "pull_request"), ".github/workflows/test.yml is nothing"),
        (replaced("params.yaml", "path: data/corpus.csv", "path: /etc/passwd"), "params.yaml has more changes"),
        (replaced("params.yaml", "a2" * 20, "b2" * 20), "params.yaml has more changes"),
        (replaced("params.yaml", "# rows", "# texts"), "params.yaml has more changes"),
        (replaced("data/corpus.csv.dvc", "path: corpus", "path: ../../corpus"), "corpus.csv.dvc has more changes"),
        (replaced("data/corpus.csv.dvc", "outs:", "cmd: evil\nouts:"), "corpus.csv.dvc has more changes"),
        (replaced("data/corpus.csv.dvc", "size: 1", "size: {a: 1}"), "corpus.csv.dvc has more changes"),
        (replaced("tiny/weights.dvc", "size: 1", "size: 2"), "tiny/weights.dvc is neither"),
        (link("metrics/quality/baseline.json", "/etc/passwd"), "baseline.json is a symlink"),
        (link("data/new.csv", "../stages"), "data/new.csv is a symlink"),
        (executable("metrics/quality/baseline.json"), "baseline.json is executable"),
        (submodule, "metrics/other.json is a submodule"),
        (lambda folder: (folder / "dvc.lock").unlink(), "dvc.lock is gone"),
        (lambda folder: (folder / "stages/clean.py").rename(folder / "metrics/clean.json"), "stages/clean.py is gone"),
    ],
)
def test_anything_else_is_refused_with_its_name(project: Path, change: Callable[[Path], None], told: str) -> None:
    base = git(project, "rev-parse", "HEAD")
    change(project)
    assert told in (refusal(project, commit(project), base) or "")


def test_a_proposal_is_one_step_from_its_branch(project: Path) -> None:
    start = git(project, "rev-parse", "HEAD")
    main = commit(project, "on")
    git(project, "checkout", "-q", "-b", "side", start)
    write(project, "stages/clean.py", "2\n")
    elsewhere = commit(project, "other code")
    write(project, "dvc.lock", "schema: '2.0'\n")
    above = commit(project)
    git(project, "merge", "-q", "--no-ff", "-m", "both", "main")
    merge = git(project, "rev-parse", "HEAD")
    alone = git(project, "commit-tree", "-m", "Winnow-Gate: pass", "HEAD^{tree}")
    assert misplaced(project, main, start) is None
    assert (
        refusal(project, above, main) == f"it stands on {elsewhere[:7]}, which is no part of the branch that it is "
        f"for ({main[:7]})"
    )
    assert refusal(project, merge, main) == "it has 2 parents, and a proposal has one"
    assert refusal(project, alone, main) == "it has 0 parents, and a proposal has one"
    assert list(more_than_results(project, main, merge)) == ["stages/clean.py is neither data nor a result"]


def test_in_a_subfolder_of_a_repository_only_that_folder_is_the_projects(tmp_path: Path) -> None:
    for command in ("init -q -b main", "config user.name tests", "config user.email tests@localhost"):
        run(tmp_path, "git", *command.split())
    for name, text in FILES.items():
        write(tmp_path / "sub", name, text)
    base = commit(tmp_path)
    write(tmp_path, "sub/dvc.lock", "schema: '2.0'\n")
    write(tmp_path, "sub/data/corpus.csv", "c,d\n")
    inside = commit(tmp_path)
    write(tmp_path, "dvc.lock", "schema: '2.0'\n")
    outside = commit(tmp_path)
    assert refusal(tmp_path / "sub", inside, base) is None
    assert refusal(tmp_path / "sub", outside, inside) == "dvc.lock is nothing that a retraining writes"


def test_a_verdict_is_of_one_commit_and_stays_in_the_clone_that_gave_it(project: Path, tmp_path_factory) -> None:
    made = commit(project, "Retrain\n\nWinnow-Gate: fail")
    proposal_records.remember(project, made, Judged("fail", None))
    git(project, "commit", "-q", "--amend", "--allow-empty", "-m", "Retrain\n\nWinnow-Gate: pass")
    amended = git(project, "rev-parse", "HEAD")
    assert proposal_records.judged(project, made) == Judged("fail", None)
    assert proposals.claimed(project, amended) == "pass"
    assert proposal_records.judged(project, amended) is None
    git(project, "clean", "-q", "-fdx")
    assert proposal_records.judged(project, made) == Judged("fail", None)
    other = tmp_path_factory.mktemp("other") / "clone"
    git(project, "clone", "-q", "--mirror", ".", str(other))
    assert proposal_records.judged(other, made) is None
    [record] = (project / ".git/winnow/proposals").iterdir()
    record.write_text("{")
    assert proposal_records.judged(project, made) is None, "what is torn is no verdict"


def test_a_branch_from_elsewhere_is_refused_once_and_stays_where_it_is(project: Path) -> None:
    origin = project / ".git/origin.git"
    git(project, "clone", "-q", "--bare", ".", str(origin))
    git(project, "remote", "add", "origin", str(origin))
    base = git(project, "rev-parse", "HEAD")
    name = proposals.branch_name(project)
    write(project, "notes.txt", "mine")
    forged = commit(project)
    git(project, "push", "-q", "origin", f"{forged}:refs/heads/{name}")
    git(project, "reset", "-q", "--hard", base)

    told: list[str] = []
    for _ in range(2):
        assert proposals.same_inputs(project, project, base, told.append) is None
    refused = f"origin/{name} ({forged[:7]}) is no proposal, and is left alone: notes.txt is neither data nor a result"
    assert told == [refused]

    write(project, "dvc.lock", "schema: '2.0'\n")
    own = commit(project)
    proposal_records.remember(project, own, Judged("pass", None))
    other_name = proposals.free_name(project, proposals.branch_name(project), own)
    assert other_name == f"{name}-{own[:7]}"
    proposals.publish(project, other_name, own)
    assert git(origin, "rev-parse", name) == forged
    assert git(origin, "rev-parse", other_name) == own
    git(project, "update-ref", "-d", f"refs/remotes/origin/{name}")  # pushed by somebody since the last fetch
    with pytest.raises(GitError, match="stale info"):
        proposals.publish(project, name, own)
    assert git(origin, "rev-parse", name) == forged


def test_a_lock_from_elsewhere_touches_no_file_and_ends_no_night(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.write_text("mine")
    outside.chmod(0o600)
    before = outside.stat()
    init_repository(project)
    write(project, "dvc.yaml", "stages: {one: {cmd: echo 1 > out, deps: [code.py], outs: [out]}}\n")
    write(project, "code.py", "1\n")
    write(project, "params.yaml", PARAMS)
    base = commit(project)
    stage = "schema: '2.0'\nstages:\n  one:\n    cmd: echo 2 > out\n    outs:\n    - {}\n"
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nschema: '2.0'\n"
    for number, lock in enumerate(
        (stage.format(f"path: {outside}"), stage.format("md5: x"), bomb, "<<<<<<< a\n", "[" * 5000)
    ):
        write(project, "dvc.lock", lock)
        git(project, "update-ref", f"refs/remotes/origin/{proposals.prefix(project)}{number}", commit(project))
        git(project, "reset", "-q", "--hard", base)
    assert proposals.same_inputs(project, project, base, print) is None
    after = outside.stat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert git(project, "status", "--porcelain") == ""


def test_a_release_of_code_that_the_branch_has_not_taken_is_no_place_to_start_from(project: Path) -> None:
    main = git(project, "rev-parse", "HEAD")
    told: list[str] = []
    write(project, "dvc.lock", "schema: '2.0'\n")
    results = commit(project)
    write(project, "stages/clean.py", "2\n")
    code = commit(project)
    git(project, "update-ref", "refs/heads/main", main)
    assert start_of(project, "main", Release("v1.1.0", results), told.append) == results
    assert told == []
    assert start_of(project, "main", Release("v1.2.0", code), told.append) == main
    [line] = told
    assert line.startswith("v1.2.0 is on top of main, which does not have all of it (stages/clean.py is neither")


def test_changes_that_take_no_part_are_told_by_their_whole_name(project: Path) -> None:
    for name in ("data/corpus.csv.old", "data/corpus.csv2"):
        write(project, name, "a\n")
    commit(project)
    write(project, "params.yaml", (REPOSITORY / "params.yaml").read_text())
    edit_params(project, ingest__path="data/corpus.csv")
    start = commit(project)
    for name in ("data/corpus.csv", "data/corpus.csv.dvc", "data/corpus.csv.old", "data/corpus.csv2"):
        write(project, name, "b\n")
    told: list[str] = []
    with Children() as children:
        tell_what_stays(Job(project, project, start, None, children, told.append))
    beside = "data/corpus.csv.old, data/corpus.csv2"
    assert told == [f"the clone has changes that are not committed, and take no part: {beside}"]
