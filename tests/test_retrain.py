"""Flow `retrain` against a real clone with an origin, a DVC remote, and a real Prefect server."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import flow_fixtures
import pytest
import yaml
from conftest import TOPICS, edit_params, run
from flow_fixtures import environment, eventually
from prefect.states import State
from retrain_project import make_retrain_project, make_retrain_project_in_a_subfolder, more_rows

from flows.dvc import storage
from flows.releases import releases
from flows.retraining import proposals
from flows.review.evidence import Results

prefect_server = flow_fixtures.prefect_server
pytestmark = pytest.mark.usefixtures("prefect_server", "warm_flows")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_retrain_project(tmp_path / "all")


def retrain(clone: Path, **options: Any) -> State:
    from flows.retrain import retrain as flow
    from flows.running.root import retraining_in

    with retraining_in(clone):
        return flow(return_state=True, **options)


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments).stdout.strip()


def proposed(folder: Path) -> list[str]:
    return git(folder, "for-each-ref", "--format=%(refname:short)", "refs/heads/winnow").splitlines()


def commit_params(clone: Path, subject: str, **changes: object) -> None:
    edit_params(clone, **changes)
    git(clone, "commit", "-qam", subject)


def untouched(clone: Path) -> tuple[str, str, str, str]:
    """What a person in the clone would notice."""
    return (
        git(clone, "rev-parse", "HEAD"),
        git(clone, "status", "--porcelain"),
        git(clone, "stash", "list"),
        git(clone, "worktree", "list"),
    )


def test_new_rows_make_one_proposal_that_anybody_can_reproduce_and_nobodys_checkout_is_touched(
    clone: Path, tmp_path: Path
):
    nothing = retrain(clone)
    assert (nothing.name, nothing.message) == ("Skipped", "nothing new: no stage of main would run")

    more_rows(clone, 30, seed=1)
    (clone / "notes.txt").write_text("mine")
    before = untouched(clone)
    state = retrain(clone)
    assert state.name == "Proposed", state.message
    assert "accuracy 100.0%" in (state.message or "")
    assert untouched(clone) == before

    [branch] = proposed(clone)
    assert proposed(clone.parent / "origin.git") == [branch]
    message = git(clone, "show", "--no-patch", "--format=%B", branch)
    assert message.startswith("Retrain: accuracy 100.0%, macro-F1 100.0%; the gate says pass")
    assert "data/corpus.csv: 1 file changed in the clone" in message
    assert "Winnow review" in message
    changed = git(clone, "diff", "--name-only", "main", branch).splitlines()
    assert {"data/corpus.csv", "dvc.lock", "metrics/quality/baseline.json"} <= set(changed)
    assert "notes.txt" not in changed

    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "-q", "--branch", branch, str(clone.parent / "origin.git"), str(other))
    run(other, "dvc", "remote", "modify", "--local", "store", "url", str(clone.parent / "store"))
    run(other, "dvc", "pull", "-q")
    assert run(other, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."

    again = retrain(clone)
    assert (again.name, again.message) == ("Skipped", f"already proposed: {branch}")
    shutil.rmtree(clone / ".git/refs/heads/winnow")  # another clone's proposal, as far as this one knows
    elsewhere = retrain(clone)
    assert (elsewhere.name, elsewhere.message) == ("Skipped", f"already proposed: origin/{branch}")


def test_a_proposal_that_the_gate_passes_can_be_released_at_once_and_taken_back(clone: Path):
    assert retrain(clone, approve="when the gate passes").name == "Skipped", "no released model yet, and nothing new"
    first = releases.promote(clone)
    more_rows(clone, 30, seed=1)
    state = retrain(clone, approve="when the gate passes")
    assert state.name == "Promoted", state.message
    now = releases.released(clone)
    assert now is not None
    assert now != first
    assert git(clone.parent / "origin.git", "rev-parse", "main") == now.revision
    assert git(clone, "rev-parse", "main") == first.revision, "the branch here is checked out, and stays"
    said = git(clone, "show", "--no-patch", "--format=%b", now.revision)
    assert first.version in said, "the review names the release that it is against"
    assert first.revision not in said
    again = retrain(clone)
    assert (again.name, again.message) == ("Skipped", "nothing new: no stage of main would run")
    assert releases.rollback(clone) == first


def test_a_project_in_a_subfolder_proposes_and_releases_under_its_folders_name(tmp_path: Path):
    project = make_retrain_project_in_a_subfolder(tmp_path / "all")
    assert retrain(project).name == "Skipped"
    first = releases.promote(project)
    more_rows(project, 30, seed=1)
    before = untouched(project)
    state = retrain(project, approve="when the gate passes")
    assert state.name == "Promoted", state.message
    assert untouched(project) == before
    tags = git(project, "tag").splitlines()
    assert {"text/topics=model@v1.0.0", "text/topics=model@v1.1.0"} <= {*tags}
    changed = git(project, "diff", "--name-only", first.revision, "text/topics=model@v1.1.0").splitlines()
    assert {"text/topics/data/corpus.csv.dvc", "text/topics/dvc.lock"} <= {*changed}
    assert all(path.startswith("text/topics/") for path in changed)
    more_rows(project, 30, seed=2)
    released = {*proposed(project)}
    assert retrain(project).name == "Proposed"
    [branch] = {*proposed(project)} - released
    assert branch.startswith("winnow/text/topics/retrain-")
    assert "Winnow review of text/topics" in git(project, "show", "--no-patch", "--format=%B", branch)


def test_a_worse_model_is_proposed_as_blocked_judged_on_the_same_new_rows_as_the_released_one(clone: Path):
    releases.promote(clone)
    more_rows(clone, 30, seed=1)
    commit_params(clone, "a useless model", baseline__inverse_regularization=1.0e-9)
    git(clone, "push", "-q", "origin", "main")
    state = retrain(clone, approve="when the gate passes")
    assert (state.name, state.is_failed()) == ("Blocked", True), state.message
    assert "quality: fail: accuracy 100.0% ->" in (state.message or "")
    assert "others are new" not in (state.message or ""), "the released model answered the new rows too"
    [branch] = proposed(clone)
    assert "the gate says fail" in git(clone, "show", "--no-patch", "--format=%s", branch)
    assert retrain(clone).name == "Skipped"


def test_a_blocked_proposal_that_somebody_amends_is_never_released(clone: Path, tmp_path: Path):
    first = releases.promote(clone)
    more_rows(clone, 30, seed=1)
    commit_params(clone, "a useless model", baseline__inverse_regularization=1.0e-9)
    git(clone, "push", "-q", "origin", "main")
    assert retrain(clone, approve="when the gate passes").name == "Blocked"
    [branch] = proposed(clone)
    origin = clone.parent / "origin.git"
    before = git(origin, "rev-parse", "main"), git(origin, "tag")

    # Somebody who may push branches, and not main, turns the verdict round; and puts a file in, in a second branch.
    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "-q", "--branch", branch, str(origin), str(other))
    git(other, "config", "user.name", "o")
    git(other, "config", "user.email", "o@localhost")
    message = git(other, "show", "--no-patch", "--format=%B").replace("Winnow-Gate: fail", "Winnow-Gate: pass")
    git(other, "commit", "-q", "--amend", "-m", message)
    git(other, "push", "-q", "--force", "origin", branch)
    (other / "stages/theirs.py").write_text("print('anything')")
    git(other, "add", "--all")
    git(other, "commit", "-q", "--amend", "-m", message)
    git(other, "push", "-q", "--force", "origin", f"HEAD:refs/heads/{proposals.prefix(other)}theirs")
    forged = git(origin, "rev-parse", branch)

    known = retrain(clone, approve="when the gate passes")
    assert (known.name, known.message) == ("Skipped", f"already proposed: {branch}")

    shutil.rmtree(clone / ".git/winnow")  # a new clone of the scheduler's knows no proposal of before
    git(clone, "branch", "-q", "-D", branch)
    anew = retrain(clone, approve="when the gate passes")
    assert anew.name == "Blocked", anew.message
    [own] = proposed(clone)
    assert own.startswith(f"{branch}-"), "the name is taken"
    again = retrain(clone, approve="when the gate passes")
    assert (again.name, again.message) == ("Skipped", f"already proposed: {own}")

    assert git(origin, "rev-parse", branch) == forged, "what others pushed stays, to be looked at"
    assert releases.released(clone) == first
    assert (git(origin, "rev-parse", "main"), git(origin, "tag")) == before


def test_data_of_another_kind_stops_before_anything_is_trained(clone: Path):
    edit_graph(clone, "validate", "python -m stages.validate")
    run(clone, "dvc", "repro", "-q")
    git(clone, "add", "--all")
    git(clone, "commit", "-qm", "validated by the real stage")
    run(clone, "dvc", "push", "-q")
    git(clone, "push", "-q", "origin", "main")
    releases.promote(clone)
    more_rows(clone, 500, seed=1, labels=("sea",))
    state = retrain(clone)
    assert state.name == "Blocked", state.message
    assert "on label_drift: found 0.387" in (state.message or "")
    assert "'sea' is 33.3% -> 72.1% of the rows" in (state.message or "")
    assert "Nothing was trained" in (state.message or "")
    assert proposed(clone) == []
    assert json.loads((clone / "metrics/released_data.json").read_text()) == {}, "the clone stays as it is"
    assert retrain(clone, accept_drift=True).name == "Proposed"
    [branch] = proposed(clone)
    assert git(clone, "show", f"{branch}:metrics/released_data.json") == "{}", "it was compared with nothing"
    again = retrain(clone)
    assert (again.name, again.message) == ("Skipped", f"already proposed: {branch}")


@pytest.mark.slow
def test_an_object_altered_in_the_cache_is_found_and_made_again_before_it_is_proposed(clone: Path):
    name, broken = weights(clone, (clone / "dvc.lock").read_text())
    content = broken.read_bytes()
    alter(broken)
    commit_params(clone, "more resamples", evaluate__resamples=101)
    assert [found.file for found in storage.altered(clone)] == [f"artifacts/models/baseline/{name}"]
    state = retrain(clone)
    assert state.name == "Proposed", state.message
    assert broken.read_bytes() == content
    assert storage.altered(clone) == ()


def weights(clone: Path, lock: str) -> tuple[str, Path]:
    """The baseline's weights by the text `lock` of a dvc.lock: their name, and where they are in DVC's cache."""
    cache = clone / ".dvc/cache/files/md5"
    [listing] = [out["md5"] for out in yaml.safe_load(lock)["stages"]["baseline"]["outs"]]
    files = {entry["relpath"]: entry["md5"] for entry in json.loads((cache / listing[:2] / listing[2:]).read_bytes())}
    name, digest = next(item for item in files.items() if item[0].endswith(".safetensors"))
    return name, cache / digest[:2] / digest[2:]


def alter(file: Path) -> None:
    """Change a bit of an object that DVC keeps read-only."""
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    file.chmod(0o444)


def test_killed_before_the_branch_is_made_the_next_run_makes_the_one_proposal(clone: Path, prefect_server: str):
    more_rows(clone, 30, seed=1)
    hook = clone / ".git/hooks/reference-transaction"
    hook.write_text('#!/bin/sh\ngrep -q refs/heads/winnow && kill -9 $(cat "$KILLED")\nexit 0\n')
    hook.chmod(0o755)
    pid = clone.parent / "pid"
    code = (
        "import os, pathlib; pathlib.Path(os.environ['KILLED']).write_text(str(os.getpid()));"
        "from flows.cli.commands import main; main(['retrain'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=clone,
        env=environment(KILLED=str(pid), PREFECT_API_URL=prefect_server),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    hook.unlink()
    for lock in clone.glob(".git/refs/heads/winnow/*.lock"):
        lock.unlink()  # git's own: it was killed while it held it
    assert retrain(clone).name in {"Proposed", "Skipped"}
    assert len(proposed(clone)) == len(proposed(clone.parent / "origin.git")) == 1
    assert git(clone, "worktree", "list").count("\n") == 0
    assert not any((clone / ".dvc/tmp/winnow/worktrees").glob("*"))


def test_sigterm_ends_every_process_and_leaves_no_worktree(clone: Path, prefect_server: str):
    more_rows(clone, 30, seed=1)
    edit_graph(clone, "baseline", "sleep 300")
    command = [sys.executable, "-m", "flows.cli", "retrain"]
    parent = subprocess.Popen(
        command, cwd=clone, env=environment(PREFECT_API_URL=prefect_server), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        eventually(lambda: sleeping(clone), seconds=120)
        second = retrain(clone)
        assert second.name == "Skipped"
        assert second.message == f"process {parent.pid} is retraining in this clone"
        parent.terminate()
        parent.communicate(timeout=60)
        assert parent.returncode == 143
    finally:
        parent.kill()
        parent.wait()
    assert not sleeping(clone)
    assert git(clone, "worktree", "list").count("\n") == 0
    assert proposed(clone) == []


def edit_graph(clone: Path, stage: str, command: str) -> None:
    graph = yaml.safe_load((clone / "dvc.yaml").read_text())
    graph["stages"][stage]["cmd"] = command
    (clone / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    git(clone, "commit", "-qam", f"{stage}: {command}")


def sleeping(clone: Path) -> bool:
    """Whether the stage `sleep 300` runs in a worktree of the clone."""
    import psutil

    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cmdline"] == ["sleep", "300"] and str(clone) in (process.info["cwd"] or ""):
            return True
    return False


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda clone: shutil.rmtree(clone / ".git"), "no git repository, so there is nothing to propose to"),
        (lambda clone: git(clone, "checkout", "-q", "--detach"), "HEAD is detached"),
        (lambda clone: git(clone, "checkout", "-q", "--orphan", "empty"), "no commit yet"),
        (lambda clone: run(clone, "dvc", "remote", "remove", "store"), "no DVC remote is set"),
        (lambda clone: forget_data(clone), "which neither git nor DVC keeps"),
    ],
    ids=["no git", "detached", "no commit", "no DVC remote", "data kept by nobody"],
)
def test_bad_input_is_one_clear_line_and_nothing_is_half_done(clone: Path, spoil, message: str):
    spoil(clone)
    state = retrain(clone)
    assert state.is_failed()
    assert message in (state.message or "")
    assert "\n" not in (state.message or "")
    if (clone / ".git").exists():
        assert proposed(clone) == []
        assert git(clone, "worktree", "list").count("\n") == 0


def forget_data(clone: Path) -> None:
    git(clone, "rm", "-q", "--cached", "data/corpus.csv")
    git(clone, "commit", "-qm", "forget the data")


@pytest.mark.slow
def test_a_remote_that_cannot_be_written_fails_the_run_and_loses_nothing(clone: Path):
    more_rows(clone, 30, seed=1)
    (clone.parent / "file").write_text("no folder")
    run(clone, "dvc", "remote", "modify", "--local", "store", "url", str(clone.parent / "file/store"))
    state = retrain(clone)
    assert state.is_failed()
    assert "dvc push" in (state.message or "")
    assert proposed(clone) == []
    (clone / ".dvc/config.local").unlink()
    mended = retrain(clone)
    assert mended.name == "Proposed", mended.message


def test_an_unknown_base_is_named(clone: Path):
    state = retrain(clone, base="mian")
    assert state.is_failed()
    assert state.message == "there is no branch 'mian', here or at origin. Allowed: main."


@pytest.mark.slow
@pytest.mark.parametrize("imported", [False, True], ids=["dvc add", "dvc import-url"])
def test_data_that_dvc_keeps_is_taken_along_when_it_or_its_source_changes(clone: Path, imported: bool):
    source = clone.parent / "delivery.csv"
    shutil.copy(clone / "data/corpus.csv", source)
    git(clone, "rm", "-q", "--cached", "data/corpus.csv")
    if imported:
        (clone / "data/corpus.csv").unlink()
        run(clone, "dvc", "import-url", "-q", str(source), "data/corpus.csv")
    else:
        run(clone, "dvc", "add", "-q", "data/corpus.csv")
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "data in DVC")
    run(clone, "dvc", "push", "-q")
    assert retrain(clone).name == "Skipped"
    more_rows(clone, 30, seed=1)
    if imported:
        shutil.copy(clone / "data/corpus.csv", source)
        run(clone, "dvc", "checkout", "-q", "--force", "data/corpus.csv.dvc")
    state = retrain(clone)
    assert state.name == "Proposed", state.message
    [branch] = proposed(clone)
    changed = git(clone, "diff", "--name-only", "main", branch).splitlines()
    assert "data/corpus.csv.dvc" in changed
    assert "data/corpus.csv" not in changed


@pytest.mark.slow
def test_what_a_reviewer_turned_down_is_not_sent_again(clone: Path):
    more_rows(clone, 30, seed=1)
    assert retrain(clone).name == "Proposed"
    [branch] = proposed(clone)
    git(clone, "push", "-q", "origin", "--delete", branch)
    again = retrain(clone)
    assert (again.name, again.message) == ("Skipped", f"already proposed: {branch}")
    assert proposed(clone.parent / "origin.git") == []


@pytest.mark.slow
def test_a_release_that_origin_refused_is_made_by_the_next_run_and_one_taken_back_is_not(clone: Path):
    first = releases.promote(clone)
    more_rows(clone, 30, seed=1)
    hook = clone.parent / "origin.git/hooks/update"
    hook.write_text("#!/bin/sh\ncase $1 in refs/tags/*) echo no tags today >&2; exit 1;; esac\n")
    hook.chmod(0o755)
    refused = retrain(clone, approve="when the gate passes")
    assert refused.is_failed()
    assert "nothing is released: origin refused the tags" in (refused.message or "")
    assert releases.released(clone) == first
    hook.unlink()
    again = retrain(clone, approve="when the gate passes")
    assert again.name == "Promoted", again.message
    assert len(proposed(clone)) == 1

    releases.rollback(clone)
    git(clone, "push", "-q", "--force", "origin", f"{first.revision}:refs/heads/main")
    after = retrain(clone, approve="when the gate passes")
    assert after.name == "Skipped", after.message
    assert releases.released(clone) == first


def test_commits_that_nobody_pushed_are_not_published_by_an_automatic_release(clone: Path):
    commit_params(clone, "mine alone", seed=21)
    state = retrain(clone, approve="when the gate passes")
    assert state.is_failed()
    assert "main has commits that origin lacks" in (state.message or "")


@pytest.mark.parametrize("kept_by", ["git", "dvc", "dvc, and added"])
def test_data_that_others_changed_meanwhile_is_not_taken_back(clone: Path, tmp_path: Path, kept_by: str):
    if kept_by != "git":
        git(clone, "rm", "-q", "--cached", "data/corpus.csv")
        run(clone, "dvc", "add", "-q", "data/corpus.csv")
        git(clone, "add", "-A")
        git(clone, "commit", "-qm", "data by DVC")
        run(clone, "dvc", "push", "-q")
        git(clone, "push", "-q", "origin", "main")
    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "-q", str(clone.parent / "origin.git"), str(other))
    if kept_by != "git":
        run(other, "dvc", "remote", "modify", "--local", "store", "url", str(clone.parent / "store"))
        run(other, "dvc", "pull", "-q", "data/corpus.csv.dvc")
    more_rows(other, 6, seed=2)
    if kept_by != "git":
        run(other, "dvc", "add", "-q", "data/corpus.csv")
    git(other, "-c", "user.name=o", "-c", "user.email=o@localhost", "commit", "-qam", "other rows")
    git(other, "push", "-q", "origin", "main")
    more_rows(clone, 30, seed=1)
    if kept_by == "dvc, and added":
        run(clone, "dvc", "add", "-q", "data/corpus.csv")
    state = retrain(clone)
    assert state.is_failed()
    assert "data/corpus.csv has changes in this clone, and others were merged since" in (state.message or "")
    assert proposed(clone) == []


def test_a_tag_that_moved_at_origin_stops_nothing(clone: Path):
    git(clone, "tag", "latest")
    git(clone, "push", "-q", "origin", "latest")
    git(clone, "tag", "-f", "latest", git(clone, "commit-tree", "-m", "elsewhere", "HEAD^{tree}"))
    assert retrain(clone).name == "Skipped"


def test_texts_that_were_rewritten_in_their_places_are_answered_anew_by_the_released_model(clone: Path):
    from flows.gate.rejudged import rejudged
    from flows.review.model_results import results
    from flows.review.side import Side

    release = releases.promote(clone)
    before = results(Side(clone, None), "baseline")
    same = rejudged(clone, release.revision)(before)
    assert (same.answers == before.answers).all()

    corpus = clone / "data/corpus.csv"
    labels = list(TOPICS)
    turned = {
        old: new
        for at, label in enumerate(labels)
        for old, new in zip(TOPICS[label], TOPICS[labels[at - 1]], strict=True)
    }
    corpus.write_text("\n".join(swapped(line, turned) for line in corpus.read_text().splitlines()) + "\n")
    run(clone, "dvc", "repro", "-q")
    after = results(Side(clone, None), "baseline")
    anew = rejudged(clone, release.revision)(after)
    assert (after.row_ids == before.row_ids).all(), "the same places"
    assert anew.scores_N.mean() < 0.5 < after.scores_N.mean()

    alter(weights(clone, git(clone, "show", f"{release.revision}:dvc.lock"))[1])
    with pytest.raises(ValueError, match=r"artifacts/models/baseline of .* is not what dvc.lock says"):
        rejudged(clone, release.revision)(after)


def test_a_release_that_was_never_evaluated_is_not_taken_for_none(clone: Path):
    from flows.gate.rejudged import rejudged
    from flows.review.comparison import gather

    lock = clone / "dvc.lock"
    stages = yaml.safe_load(lock.read_text())
    for stage in ("evaluate@baseline", "compare", "report"):
        stages["stages"].pop(stage, None)
    lock.write_text(yaml.safe_dump(stages))
    for path in ("metrics/quality/baseline.json", "artifacts/predictions/baseline.parquet"):
        (clone / path).unlink()
        git(clone, "rm", "-q", "--cached", "--ignore-unmatch", path)
    git(clone, "commit", "-qam", "trained, not evaluated")
    release = releases.promote(clone)

    edit_params(clone, promotion__anchor=None, baseline__inverse_regularization=1e-6, promotion__margin=0.01)
    run(clone, "dvc", "repro", "-q")
    found = gather(clone, release.revision, released=rejudged(clone, release.revision))
    assert found.decision is not None
    assert found.decision.outcome == "fail"
    assert "surely worse" in found.decision.checks[0].reason

    def nothing_of(new: Results) -> Results:
        return dataclasses.replace(new, row_ids=new.row_ids[:0], quality={})

    unknown = gather(clone, release.revision, released=nothing_of)
    assert unknown.decision is not None
    assert unknown.decision.outcome == "inconclusive"


def swapped(line: str, words: dict[str, str]) -> str:
    """A line of the corpus whose text has other words, and whose label is the same."""
    text, comma, label = line.rpartition(",")
    return re.sub(r"\w+", lambda found: words.get(found[0], found[0]), text) + comma + label


def test_a_served_flow_runs_from_its_schedule_with_the_parameters_of_serve(clone: Path, prefect_server: str):
    from prefect.client.orchestration import get_client

    command = [sys.executable, "-m", "flows.cli", "serve", "--every", "3600"]
    more = {"PREFECT_API_URL": prefect_server, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    serving = subprocess.Popen(
        command, cwd=clone, env=environment(**more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert serving.stderr is not None
        told = serving.stderr.readline()
        name = told.split()[1].rstrip(",")
        assert told == f"Serving {name}, for the branch main, by the server at {prefect_server}. Ctrl-C ends it.\n"
        with get_client(sync_client=True) as client:

            def deployment() -> object:
                try:
                    return client.read_deployment_by_name(name)
                except Exception:
                    return None

            eventually(deployment, seconds=60)
            made = client.create_flow_run_from_deployment(client.read_deployment_by_name(name).id)
            eventually(lambda: (state := client.read_flow_run(made.id).state) and state.is_final(), seconds=120)
            run = client.read_flow_run(made.id)
            deployed = client.read_deployment_by_name(name)
        state = run.state
        assert state is not None
        assert (state.name, state.message) == ("Skipped", "nothing new: no stage of main would run")
        assert set(deployed.tags) == {"winnow", clone.name}
        told = f"Retrain {clone.name} ({clone}) on its newest data, and propose the result as a branch on top of main."
        assert deployed.description == told
        assert re.fullmatch(rf"{clone.name} main [0-9a-f]+ newest data: nothing new", run.name)
        assert set(run.tags) == {"winnow", clone.name, "branch:main"}
    finally:
        serving.terminate()
        serving.communicate(timeout=60)
