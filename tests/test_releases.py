"""Releases, in a scratch project with real tags, a bare git remote and a DVC remote; killed where it hurts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, run
from gto import api

from flows.releases.model import verify
from flows.releases.releases import Release, history, promote, released, rollback

MODEL = "artifacts/models/quantized"
MAKE = """
import yaml
from pathlib import Path
from stages.core.model_folder import seal
folder = Path("artifacts/models/quantized")
folder.mkdir(parents=True, exist_ok=True)
(folder / "model.onnx").write_text(f"weights {yaml.safe_load(open('params.yaml'))['seed']}")
seal(folder, backend="none", task="none", space={"labels": []})
"""
DVC_YAML = """
artifacts:
  model:
    path: artifacts/models/${promotion.model}
    type: model
    desc: the model that is released
stages:
  quantize:
    cmd: python make.py
    deps: [make.py]
    params: [seed]
    outs: [artifacts/models/quantized]
"""
PROMOTE = "from pathlib import Path; from flows.releases.releases import promote; print(promote(Path('.')).version)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `project`, its `origin.git` and its `store`; four commits, each with a model of its own."""
    base = tmp_path_factory.mktemp("releases")
    project = base / "project"
    project.mkdir()
    run(base, "git", "init", "-q", "--bare", "-b", "main", "origin.git")
    (project / "make.py").write_text(MAKE)
    (project / "dvc.yaml").write_text(DVC_YAML)
    for command in (
        "git init -q -b main",
        "git config user.email tests@localhost",
        "git config user.name tests",
        "git remote add origin ../origin.git",
        "dvc init -q",
        "dvc config core.analytics false",
        "dvc remote add -q -d store ../store",
    ):
        run(project, *command.split())
    for seed in range(4):
        (project / "params.yaml").write_text(yaml.safe_dump({"seed": seed, "promotion": {"model": "quantized"}}))
        run(project, "dvc", "repro", "-q", PYTHONPATH=str(REPOSITORY))
        run(project, "git", "add", "-A")
        run(project, "git", "commit", "-qm", f"model {seed}")
    shutil.copytree(project / ".dvc/cache/files", base / "store/files")  # as `dvc push` of each commit, in no time
    run(project, "git", "push", "-q", "-u", "origin", "main")
    return base


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of it, at the oldest commit."""
    base = tmp_path / "base"
    shutil.copytree(made, base, symlinks=True)
    run(base / "project", "git", "checkout", "-q", "HEAD~3")
    return base / "project"


def commit_of(project: Path, name: str) -> str:
    return run(project, "git", "rev-parse", name).stdout.strip()


def tags(repository: Path) -> list[str]:
    """The release tags, with their hashes."""
    return run(repository, "git", "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/tags").stdout.split(
        "\n"
    )[:-1]


def names(repository: Path) -> list[str]:
    return [line.split()[0] for line in tags(repository)]


def origin(project: Path) -> Path:
    return project.parent / "origin.git"


def hook(repository: Path, name: str, script: str) -> Path:
    folder = repository / "hooks" if repository.suffix == ".git" else repository / ".git/hooks"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def versions(project: Path) -> list[str]:
    return [release.version for release in history(project)]


def release(project: Path, number: int) -> Release:
    return Release(f"v1.{number}.0", commit_of(project, f"main~{3 - number}"))


def assign(project: Path, *numbers: int) -> None:
    """The models of these numbers in production one after the other, straight by GTO, which waits for no second."""
    for number in numbers:
        if f"model@v1.{number}.0" not in names(project):
            api.register(str(project), "model", release(project, number).revision, version=f"v1.{number}.0")
        api.assign(str(project), "model", "production", version=f"v1.{number}.0", force=True)


def cached(project: Path, name: str = "model.onnx", revision: str = "HEAD") -> Path:
    """The object of a file of the model in DVC's cache."""
    lock = yaml.safe_load(run(project, "git", "show", f"{revision}:dvc.lock").stdout)
    cache = project / ".dvc/cache/files/md5"
    md5 = lock["stages"]["quantize"]["outs"][0]["md5"]
    listing = json.loads((cache / md5[:2] / md5[2:]).read_text())
    md5 = next(entry["md5"] for entry in listing if entry["relpath"] == name)
    return cache / md5[:2] / md5[2:]


def alter(path: Path) -> None:
    """Other bytes of the same length, in a file that stays read-only."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


@contextlib.contextmanager
def one_line(error: type[Exception], match: str) -> Iterator[None]:
    with pytest.raises(error, match=match) as found:
        yield
    assert "\n" not in str(found.value)


def child(project: Path, *before: str) -> subprocess.Popen[str]:
    """`promote` of HEAD in a process of its own, after the words `before` on its command line."""
    return subprocess.Popen(
        [*before, sys.executable, "-c", PROMOTE],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_nothing_is_released_at_first(project: Path) -> None:
    assert released(project) is None
    assert history(project) == ()
    with one_line(ValueError, "no release to go back to: nothing is released yet"):
        rollback(project)


def test_promote_tags_pushes_and_points_production_at_the_commit(project: Path) -> None:
    first = promote(project)
    assert first == released(project) == Release("v1.0.0", commit_of(project, "HEAD"))
    assert names(project) == ["model#production#1", "model@v1.0.0"]
    assert tags(origin(project)) == tags(project)
    assert run(project, "git", "cat-file", "-t", "model@v1.0.0").stdout == "tag\n"
    assert promote(project, "main") == Release("v1.1.0", commit_of(project, "main"))
    assert history(project) == (Release("v1.1.0", commit_of(project, "main")), first)


def test_to_promote_again_changes_nothing_and_needs_no_right_to_push(project: Path) -> None:
    first = promote(project)
    before = tags(project)
    hook(origin(project), "pre-receive", "exit 1")
    assert promote(project) == first
    assert tags(project) == tags(origin(project)) == before


def test_gto_and_dvc_see_the_release_that_winnow_sees_after_a_rollback_too(project: Path) -> None:
    assign(project, 0, 1)
    rollback(project, push=False)
    shown = json.loads(run(project, "gto", "show", "model#production", "--json").stdout)
    assert [entry["version"] for entry in shown] == ["v1.0.0"]
    run(project, "dvc", "artifacts", "get", ".", "model", "--stage", "production", "--out", "got")
    assert (project / "got/model.onnx").read_text() == "weights 0"


def test_without_a_remote_or_without_push_the_tags_stay_here_and_the_next_push_takes_all(project: Path) -> None:
    promote(project, push=False)
    assert tags(origin(project)) == []
    promote(project, "main")
    assert names(origin(project)) == ["model#production#1", "model#production#2", "model@v1.0.0", "model@v1.1.0"]
    run(project, "git", "remote", "remove", "origin")
    assert promote(project, "main~1").version == "v1.2.0"


def test_rollbacks_go_back_step_by_step_and_then_no_further(project: Path) -> None:
    assign(project, 0, 1, 2)
    assert rollback(project) == released(project) == release(project, 1)
    assert rollback(project) == release(project, 0)
    with one_line(ValueError, r"no release to go back to: v1\.0\.0 is the first release"):
        rollback(project)
    assert versions(project) == ["v1.0.0", "v1.1.0", "v1.2.0", "v1.1.0", "v1.0.0"]
    assert tags(origin(project)) == tags(project)


def test_a_promotion_after_a_rollback_has_the_release_before_it_as_its_way_back(project: Path) -> None:
    assign(project, 0, 1, 0, 2)  # the second 0 is a rollback
    assert rollback(project, push=False) == release(project, 0)
    assert promote(project, "main~2", push=False) == release(project, 1)  # the tag that it has already
    assert len([name for name in names(project) if "@" in name]) == 3
    assert rollback(project, push=False) == release(project, 0)


def test_more_than_nine_assignments_keep_their_order_though_made_in_one_second(project: Path) -> None:
    assign(project, *[0, 1] * 5)
    assert "model#production#10" in names(project)
    assert versions(project) == ["v1.1.0", "v1.0.0"] * 5


def test_an_assignment_without_a_version_is_not_a_release(project: Path) -> None:
    assign(project, 0)
    api.assign(str(project), "model", "production", ref=commit_of(project, "main"), skip_registration=True)
    assert "model#production#2" in names(project)
    assert released(project) == release(project, 0)


def test_a_refused_push_leaves_no_tag_behind_and_gives_gits_words(project: Path) -> None:
    first = promote(project)
    before = tags(project)
    refusal = hook(origin(project), "pre-receive", "echo only the maintainers release >&2; exit 1")
    with one_line(RuntimeError, "nothing is released: .*only the maintainers release.*pre-receive hook declined"):
        promote(project, "main")
    assert tags(project) == tags(origin(project)) == before
    assert released(project) == first
    refusal.unlink()
    assert promote(project, "main").version == "v1.1.0"


def test_one_refused_tag_keeps_the_other_out_of_the_remote(project: Path) -> None:
    hook(origin(project), "update", 'case "$1" in *production*) exit 1;; esac')
    with one_line(RuntimeError, "hook declined"):
        promote(project)
    assert tags(project) == tags(origin(project)) == []


def test_a_remote_that_cannot_be_reached_is_one_clear_line(project: Path) -> None:
    shutil.rmtree(origin(project))
    with one_line(RuntimeError, "the releases at origin cannot be read: .*origin.git"):
        promote(project)
    assert tags(project) == []


def can_trace() -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run(["strace", "true"], capture_output=True, check=False).returncode == 0
    return False


@pytest.mark.parametrize(
    ("call", "left"),
    [(2, []), (3, ["model@v1.1.0"]), (4, ["model@v1.1.0"])],
    ids=["naming the version", "between the two", "naming the stage"],
)
def test_killed_amid_the_tags_the_old_release_stays_and_promote_completes(
    project: Path, call: int, left: list[str]
) -> None:
    """Each tag is two calls of link(2): its object, then its name, of which a lock is left."""
    if not can_trace():
        pytest.skip("there is no strace here, or it may not trace")
    old = promote(project)
    before = names(project)
    run(project, "git", "checkout", "-q", "main")
    calls = ["-e", "trace=link", "-e", f"inject=link:signal=SIGKILL:when={call}"]
    child(project, "strace", "-qq", "-o", "/dev/null", *calls).communicate()
    assert released(project) == old
    assert sorted(names(project)) == sorted(before + left)
    new = Release("v1.1.0", commit_of(project, "main"))
    assert promote(project) == released(project) == new
    assert versions(project) == ["v1.1.0", "v1.0.0"]
    assert len(tags(project)) == 4
    assert tags(project) == tags(origin(project))


def test_killed_between_the_tags_and_the_push_the_next_call_pushes_the_same_tags(project: Path) -> None:
    # pre-push runs in git push, the child of promote.
    stop = hook(project, "pre-push", "kill -9 $(ps -o ppid= -p $PPID); exit 1")
    killed = child(project)
    assert killed.communicate()[0] == ""
    assert killed.returncode == -9
    before = tags(project)
    assert len(before) == 2
    assert tags(origin(project)) == []
    stop.unlink()
    assert promote(project) == released(project)
    assert tags(project) == tags(origin(project)) == before


def test_a_rollback_that_was_killed_before_its_push_is_completed_and_not_doubled(project: Path) -> None:
    assign(project, 0, 1, 2)
    run(project, "git", "push", "-q", "--tags", "origin")
    stop = hook(project, "pre-push", "kill -9 $(ps -o ppid= -p $PPID); exit 1")
    code = PROMOTE.replace("promote", "rollback")
    assert run(project, sys.executable, "-c", code, check=False, PYTHONPATH=str(REPOSITORY)).returncode == -9
    stop.unlink()
    assert released(project) == release(project, 1)
    assert rollback(project) == release(project, 1)
    assert tags(project) == tags(origin(project))
    assert rollback(project) == release(project, 0)


def test_two_promotes_at_once_make_one_release(project: Path) -> None:
    both = [child(project) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["v1.0.0\n", "v1.0.0\n"]
    assert names(project) == names(origin(project)) == ["model#production#1", "model@v1.0.0"]


def test_two_clones_that_promote_at_once_release_one_after_the_other_or_one_is_refused(project: Path) -> None:
    other = project.parent / "other"
    shutil.copytree(project, other, symlinks=True)
    run(other, "git", "checkout", "-q", "main")
    both = [child(clone) for clone in (project, other)]
    said = [process.communicate() for process in both]
    done = [process.returncode == 0 for process in both]
    assert any(done), said
    assert names(origin(project)).count("model@v1.0.0") == 1
    assert len(tags(origin(project))) == 2 * sum(done)
    for clone in (project, other):
        promote(clone)  # who was refused tries again
    assert {release.version for release in history(other)} == {"v1.0.0", "v1.1.0"}
    assert tags(other) == tags(origin(project))


def test_a_release_of_another_clone_is_seen_before_a_new_one_is_made(project: Path) -> None:
    other = project.parent / "other"
    shutil.copytree(project, other, symlinks=True)
    promote(project)
    promote(other, "main", push=False)  # the same names as the release that was pushed
    assert promote(other, "main").version == "v1.1.0"
    assert versions(other) == ["v1.1.0", "v1.0.0"]
    assert tags(other) == tags(origin(project))


def test_a_setting_that_prunes_on_fetch_takes_no_tag_that_is_not_pushed(project: Path) -> None:
    other = project.parent / "other"
    shutil.copytree(project, other, symlinks=True)
    promote(other, "main")
    run(project, "git", "config", "fetch.prune", "true")
    run(project, "gto", "register", "model", "HEAD", "--version", "v0.9.0")
    promote(project, "HEAD")
    assert names(origin(project)) == [
        "model#production#1", "model#production#2", "model@v0.9.0", "model@v1.0.0"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_an_altered_object_in_dvcs_cache_is_refused_by_name(project: Path, name: str) -> None:
    alter(cached(project, name))
    with one_line(ValueError, rf"{MODEL}/{name} of \w{{7}} is not what dvc\.lock says: its bytes changed"):
        promote(project)
    assert tags(project) == tags(origin(project)) == []


def test_a_release_whose_object_was_altered_since_is_not_rolled_back_to(project: Path) -> None:
    assign(project, 0, 1)
    alter(cached(project))
    with one_line(ValueError, "its bytes changed"):
        rollback(project)
    assert released(project) == release(project, 1)


def test_missing_objects_are_fetched_from_the_dvc_remote(project: Path) -> None:
    cached(project).unlink()
    verify(project, "HEAD")
    shutil.rmtree(project / ".dvc/cache")
    assert promote(project, "main~2").version == "v1.0.0"


def make_another_model(project: Path) -> None:
    """As after `dvc repro` of a change that is not committed."""
    (project / "dvc.lock").write_text(run(project, "git", "show", "main:dvc.lock").stdout)


def test_before_a_commit_promote_says_to_commit_and_not_to_push_what_others_made(project: Path) -> None:
    for path in (cached(project), project.parent / "store" / cached(project).relative_to(project / ".dvc/cache")):
        path.unlink()
    make_another_model(project)
    with one_line(
        RuntimeError, r"dvc\.lock here has another model, which is not committed: .*`git commit`, and promote"
    ):
        promote(project)
    assert tags(project) == []


def test_promote_says_that_a_model_that_is_not_committed_is_not_the_one_released(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_another_model(project)
    assert promote(project).revision == commit_of(project, "HEAD")
    assert "dvc.lock here has another model, which is not committed" in caplog.text
    caplog.clear()
    promote(project, "main")
    assert "not committed" not in caplog.text


def test_a_merge_conflict_in_dvc_lock_keeps_nobody_from_releasing_what_is_committed(project: Path) -> None:
    lock = project / "dvc.lock"
    lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}=======\n>>>>>>> other\n")
    assert promote(project).revision == commit_of(project, "HEAD")


def test_an_object_that_nobody_has_is_one_clear_line(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project.parent / "store")
    with one_line(
        RuntimeError, f"{MODEL} of .* is not in DVC's cache, and the DVC remote does not give it: .*dvc push"
    ):
        verify(project, "HEAD")


@pytest.mark.parametrize("whole", [True, False], ids=["no cache", "one object gone"])
def test_an_altered_object_at_the_dvc_remote_is_refused(project: Path, whole: bool) -> None:
    gone = cached(project)
    alter(project.parent / "store" / gone.relative_to(project / ".dvc/cache"))
    if whole:
        shutil.rmtree(project / ".dvc/cache")
    else:
        gone.unlink()
    with one_line(ValueError, rf"{MODEL} of \w{{7}}: model\.onnx was altered"):
        verify(project, "HEAD")


def test_a_model_altered_before_dvc_hashed_it_is_refused_by_its_manifest(project: Path) -> None:
    run(project, "git", "checkout", "-q", "main")
    run(project, "dvc", "checkout", "-q")
    path = project / MODEL / "model.onnx"
    path.unlink()
    path.write_text("other weights")
    run(project, "dvc", "commit", "-q", "-f")
    run(project, "git", "commit", "-qam", "altered")
    with one_line(ValueError, rf"{MODEL} of \w{{7}}: model\.onnx was altered"):
        promote(project)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        ("git rm -q dvc.lock", r"\w{7} has no dvc\.lock, so there is nothing to release"),
        ("rm dvc.lock; printf 'stages: {}' > dvc.lock", rf"dvc\.lock of \w{{7}} has no folder {MODEL}"),
        ("printf 'promotion: {model: ../x}' > params.yaml", r"promotion\.model is '\.\./x'\. Allowed: baseline"),
        ("printf '{' > params.yaml", r"params\.yaml of \w{7}, line 2, column 1: not YAML: "),
    ],
)
def test_a_commit_without_a_model_is_refused_in_one_line(project: Path, spoil: str, match: str) -> None:
    run(project, "sh", "-c", f"{spoil}; git commit -qam spoilt")
    with one_line(ValueError, match):
        promote(project)
    assert tags(project) == []


def test_a_revision_or_a_repository_that_does_not_exist_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    for name in ("nothing", "--help", ""):
        with one_line(ValueError, f"git knows no revision '{name}'"):
            promote(project, name)
    for call in (promote, rollback, released):
        with one_line(ValueError, "releases are git tags, but there is no git repository"):
            call(tmp_path)


def test_a_shallow_clone_does_not_guess_what_is_released_and_can_promote(project: Path) -> None:
    promote(project, "main~1")
    shallow = project.parent / "shallow"
    run(project.parent, "git", "clone", "-q", "--depth", "1", f"file://{origin(project)}", "shallow")
    for call in (released, history):
        with one_line(ValueError, "a shallow clone, without 2 of the release tags at origin.*git fetch origin"):
            call(shallow)
    assert promote(shallow).version == "v1.1.0"
    assert versions(shallow) == ["v1.1.0", "v1.0.0"]
    assert tags(shallow) == tags(origin(project))


def test_without_an_identity_in_git_winnow_tags(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = ["git", "for-each-ref", "--format=%(taggername) %(taggeremail)", "refs/tags"]
    promote(project, "main~1", push=False)
    assert set(run(project, *tagger).stdout.splitlines()) == {"tests <tests@localhost>"}
    for name in [name for name in os.environ if name.startswith(("GIT_COMMITTER_", "GIT_AUTHOR_", "EMAIL"))]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": "/nowhere", "XDG_CONFIG_HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, value)
    run(project, "git", "config", "--unset", "user.email")
    run(project, "git", "config", "--unset", "user.name")
    promote(project, "main", push=False)
    assert "Winnow <winnow@localhost>" in run(project, *tagger).stdout


def test_a_version_taken_out_of_production_by_gto_is_not_what_is_released(project: Path) -> None:
    assign(project, 0, 1)
    api.unassign(str(project), "model", version="v1.1.0", stage="production")
    assert released(project) == release(project, 0)
