"""DVC remotes: a folder, and S3 as moto's server speaks it; what comes back, and what is said where nothing does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import flow_fixtures
import pytest
import s3_fixtures
from conftest import init_repository
from flow_fixtures import dvc
from prefect.states import Failed
from s3_fixtures import SECRET, as_user, believe_everybody, client

from flows.dvc import storage
from flows.dvc.command import DvcError
from flows.retraining import job
from flows.running.processes import Children

finished = flow_fixtures.finished
server, s3 = s3_fixtures.server, s3_fixtures.s3
NOWHERE = "http://127.0.0.1:1"  # no server has this port
OUTS = ("ingest.txt", "clean.txt", "evaluate_teacher.txt", "evaluate_student.txt", "alone.txt")


def use(project: Path, url: str, *, endpoint: str = "") -> None:
    """Make `url` the default remote of `project`."""
    options = f"    endpointurl = {endpoint}\n" if endpoint else ""
    text = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {url}\n{options}"
    (project / ".dvc/config").write_text(text)


def push(project: Path) -> None:
    with Children() as children:
        storage.push(project, print, children=children)


def pull(project: Path) -> None:
    with Children() as children:
        storage.pull(project, [], print, children=children)


def without_data(project: Path, clone: Path) -> Path:
    """A clone of `project` as git makes one: no outs, no cache."""
    shutil.copytree(project, clone, ignore=shutil.ignore_patterns("cache", "tmp", *OUTS))
    return clone


@pytest.fixture(params=["folder", "s3"])
def pushed(request: pytest.FixtureRequest, finished: Path, tmp_path: Path) -> Path:
    """A project that has pushed its data and its run cache to a remote of each kind."""
    if request.param == "s3":
        use(finished, "s3://winnow/store", endpoint=request.getfixturevalue("s3"))
    else:
        use(finished, str(tmp_path / "store"))
    push(finished)
    return finished


def test_what_one_clone_pushes_another_pulls_byte_for_byte_and_has_nothing_to_run(pushed: Path, tmp_path: Path):
    clone = without_data(pushed, tmp_path / "clone")
    pull(clone)
    assert {name: (clone / name).read_bytes() for name in OUTS} == {name: (pushed / name).read_bytes() for name in OUTS}
    assert dvc(clone, "repro").count("didn't change, skipping") == len(OUTS)


def test_the_run_cache_alone_restores_every_stage_and_runs_none(pushed: Path, tmp_path: Path):
    clone = without_data(pushed, tmp_path / "clone")
    lock = (clone / "dvc.lock").read_bytes()
    (clone / "dvc.lock").unlink()
    dvc(clone, "pull", "--run-cache", "--allow-missing")
    said = dvc(clone, "repro", "--pull")
    assert said.count("is cached - skipping run") == len(OUTS)
    assert "Running stage" not in said
    assert (clone / "dvc.lock").read_bytes() == lock


def passes(message: str) -> bool:
    """Whether `retrain` would try again after this."""
    return job.passes_by_itself(None, None, Failed(data=DvcError(message)))  # type: ignore[arg-type]


def refused(action: Any, project: Path, *, saying: str) -> str:
    """The message of `action`, which fails: one line that holds `saying`, and no secret."""
    with pytest.raises(DvcError) as raised:
        action(project)
    message = str(raised.value)
    assert saying in message
    assert message.count(saying) <= 2, "the cause is told once, not once a file"
    assert "\n" not in message
    assert SECRET not in message
    return message


@pytest.mark.parametrize("action", [push, pull])
def test_a_bucket_that_does_not_exist_is_named_as_such_and_not_tried_again(action: Any, finished: Path, s3: str):
    use(finished, "s3://nobody/store", endpoint=s3)
    shutil.rmtree(finished / ".dvc/cache/files") if action is pull else None
    message = refused(action, finished, saying="The specified bucket does not exist")
    assert not passes(message), message


@pytest.mark.parametrize(("action", "answer"), [(push, "InvalidAccessKeyId"), (pull, "Forbidden")])
def test_wrong_keys_are_the_remotes_answer_in_one_line_and_not_tried_again(
    action: Any, answer: str, finished: Path, s3: str
):
    use(finished, "s3://winnow/store", endpoint=s3)
    believe_everybody(s3, False)
    shutil.rmtree(finished / ".dvc/cache/files") if action is pull else None
    message = refused(action, finished, saying=answer)
    assert not passes(message), message


def test_keys_that_may_only_read_can_pull_and_are_told_why_they_cannot_push(
    finished: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(finished, "s3://winnow/store", endpoint=s3)
    push(finished)
    iam = client("iam", s3)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    allowed = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=policy)
    believe_everybody(s3, False)
    as_user(monkeypatch, key["AccessKeyId"], key["SecretAccessKey"])
    clone = without_data(finished, tmp_path / "clone")
    pull(clone)
    use(clone, "s3://winnow/other", endpoint=s3)
    message = refused(push, clone, saying="AccessDenied")
    assert "failed to push data to the cloud - 3 files failed to upload" in message
    assert key["SecretAccessKey"] not in message
    assert not passes(message), message


@pytest.mark.parametrize("action", [push, pull])
@pytest.mark.usefixtures("s3")
def test_an_endpoint_that_is_not_there_is_one_line_and_tried_again(action: Any, finished: Path):
    use(finished, "s3://winnow/store", endpoint=NOWHERE)
    shutil.rmtree(finished / ".dvc/cache/files") if action is pull else None
    for name in OUTS:
        (finished / name).unlink()
    message = refused(action, finished, saying=f'Could not connect to the endpoint URL: "{NOWHERE}')
    assert passes(message), message


def test_a_name_that_looks_like_an_option_is_a_path(tmp_path: Path):
    init_repository(tmp_path)
    use(tmp_path, str(tmp_path / "store"))
    (tmp_path / "-R.csv").write_text("a,b\n")
    with Children() as children:
        storage.add(tmp_path, "-R.csv", print, children=children)
        storage.pull(tmp_path, ["-R.csv.dvc"], print, children=children)
    assert not storage.changed_data(tmp_path, "-R.csv.dvc")
    storage.get(tmp_path, "-R.csv", tmp_path / "copy", revision=None)
    assert (tmp_path / "copy").read_text() == "a,b\n"


def test_a_folder_that_cannot_be_made_is_one_line_and_not_tried_again(finished: Path, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    use(finished, str(tmp_path / "file/store"))
    message = refused(push, finished, saying="Not a directory")
    assert not passes(message), message
