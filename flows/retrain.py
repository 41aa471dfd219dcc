"""Flow `retrain`: newest data -> drift -> reproduce -> gate -> proposal, in a worktree that nobody else sees.

Nothing is published before all of it is there: data first, then the branch, then, where that is wanted, the release.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefect import flow, task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed, State

from flows import drift, dvc_project, dvc_storage, git, proposals, releases
from flows.comparison import Side, gather
from flows.dvc_project import DvcError
from flows.evidence import Decision, Review, number
from flows.git import GitError
from flows.locks import lock_file, one_at_a_time
from flows.masking import masked
from flows.processes import Children, EndedError, ending_signals_raise
from flows.promotion import SHOWN
from flows.refresh import refresh
from flows.rejudged import rejudged
from flows.releases import Release
from flows.reproduce import STAGE_RUNNER, conclude, ended_when_cancelled, publish_review, run_stages
from flows.review import as_markdown
from flows.root import find_root
from flows.serving import superseded
from flows.worktrees import worktree
from stages.params import Params, load_params
from stages.paths import Paths

Approval = Literal["by hand", "when the gate passes"]
DATA_STAGE = "validate"  # with all before it, what is run before the data is judged
MENDS = 3  # attempts to make altered objects of the cache again
RETRY_SECONDS = [5, 30, 120]
PASSES = re.compile(
    r"time(d )?[ -]?out|could(n't| not) (resolve|connect)|connection|unreachable|temporar|reset by peer|hung up"
    r"|early eof|slow ?down|\b(429|500|502|503|504)\b",
    re.IGNORECASE,
)


class StopError(Exception):
    """The run ends here, and this is its state."""

    def __init__(self, state: State) -> None:
        super().__init__(state.message)
        self.state = state


def passes_by_itself(_task: Any, _run: TaskRun, state: State) -> bool:
    """Whether another attempt may succeed: networks recover, permissions and bad data do not."""
    try:
        state.result()
    except Exception as error:
        return bool(PASSES.search(str(error)))
    return False


NETWORK: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": len(RETRY_SECONDS),
    "retry_delay_seconds": RETRY_SECONDS,
    "retry_condition_fn": passes_by_itself,
}


@dataclass(frozen=True)
class Job:
    """One retraining: of which clone, in which worktree, from which commit."""

    root: Path
    worktree: Path
    start: str
    released: Release | None
    children: Children
    log: Callable[[str], None]

    @property
    def params(self) -> Params:
        return load_params(self.worktree / "params.yaml")


@flow(name="retrain", task_runner=STAGE_RUNNER, persist_result=False)  # type: ignore[arg-type]  # invariant
def retrain(
    root: Path | None = None,
    base: str | None = None,
    approve: Approval = "by hand",
    accept_drift: bool = False,
) -> State:
    """Retrain on the newest data, and propose the result as a branch on top of `base`.

    `root`: the clone; without it, the one that this runs in. `base`: without it, the branch that is checked out
    there. `approve`: whether a proposal that the gate passes is released at once. By `accept_drift`, data that differs
    from the last release's is trained on all the same. Ends as Skipped, Proposed, Promoted, Blocked or Failed.
    """
    log = get_run_logger()
    if reason := superseded():
        return _skipped(reason)
    try:
        clone = find_root(Path.cwd()) if root is None else root
        with (
            one_at_a_time(lock_file(clone, "retrain"), log.info, wait=False),
            Children() as children,
            ended_when_cancelled(children) as cancelled,
        ):
            try:
                return _retrain(clone, base, approve, accept_drift, children, log.info)
            except (EndedError, DvcError, StopError):
                if cancelled():
                    return Cancelled(message="cancelled; what had run is in DVC's cache")
                raise
    except BlockingIOError as holder:
        return _skipped(f"{holder} is retraining in this clone")
    except StopError as stop:
        return stop.state
    except (DvcError, EndedError, GitError, ValueError, OSError) as error:
        return Failed(message=masked(str(error)))


def _retrain(
    root: Path, base: str | None, approve: Approval, accept_drift: bool, children: Children, log: Callable[[str], None]
) -> State:
    branch = _checked_clone(root, base)
    if git.has_origin(root):
        fetch(root)
    released = releases.released(root)
    start = _start(root, branch, released)
    with worktree(root, start) as folder:
        job = Job(root, folder, start, released, children, log)
        _tell_what_stays(job)
        news = refresh(root, folder, job.params, log, children)
        stale = dvc_project.stale(folder)
        if not stale:
            return _skipped(f"nothing new: no stage of {branch} would run")
        log(f"new: {'; '.join(news) or 'code or parameters'}; would run: {', '.join(stale)}")
        if open_proposal := proposals.same_inputs(folder, start):
            _send_again(job, open_proposal, branch)
            return _skipped(f"already proposed: {proposals.short(open_proposal)}")
        with one_at_a_time(lock_file(root, "reproduce"), lambda who: log(f"waiting: {who} reproduces here")):
            _bring_data(job)
            _stages(job, known=_judge_data(job, accept_drift))
        return _propose(job, branch, approve, news)


def _checked_clone(root: Path, base: str | None) -> str:
    """The branch to propose to. Raises ValueError, with the next step, where retraining could not end well."""
    if git.attempt(root, "rev-parse", "--is-inside-work-tree").returncode != 0:
        raise ValueError(f"{root}: no git repository, so there is nothing to propose to. `git init`, then commit.")
    if git.attempt(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
        raise ValueError(f"{root}: no commit yet, so there is nothing to start from. `git add --all`, `git commit`.")
    branch = base or git.branch(root)
    if branch is None:
        raise ValueError("HEAD is detached, so the branch to propose to is not known. Name it: --base main.")
    git.commit_of(root, branch)
    if not dvc_storage.has_remote(root):
        raise ValueError(
            "no DVC remote is set, so nobody could get a proposal's data. Set one: dvc remote add --default NAME URL."
        )
    return branch


def _start(root: Path, branch: str, released: Release | None) -> str:
    """The commit to start from: the branch, or what is newer: origin's, or the release made on top of it."""
    start = git.commit_of(root, branch)
    for newer in (f"refs/remotes/origin/{branch}", released.revision if released else ""):
        commit = git.attempt(root, "rev-parse", "--verify", "--quiet", f"{newer}^{{commit}}").stdout.strip()
        if commit and git.attempt(root, "merge-base", "--is-ancestor", start, commit).returncode == 0:
            start = commit
    return start


def _tell_what_stays(job: Job) -> None:
    """Say which changes in the clone have no part in this, since they are not committed."""
    others = ["--", ".", f":(exclude){job.params.ingest.path}*"]
    dirty = git.attempt(job.root, "status", "--porcelain", "--untracked-files=no", *others).stdout.splitlines()
    if dirty:
        names = ", ".join(line[3:] for line in dirty[:5])
        job.log(f"the clone has changes that are not committed, and take no part: {names}")


@task(**NETWORK, task_run_name="fetch")
def fetch(root: Path) -> None:
    """What origin has: its branches, its releases."""
    git.read(root, "fetch", "--quiet", "--prune", "--tags", "origin")


def _bring_data(job: Job) -> None:
    """The data that DVC keeps, where the pipeline reads it."""
    path = Path(job.params.ingest.path)
    pointers = [f"{part}.dvc" for part in (path, *path.parents) if (job.worktree / f"{part}.dvc").is_file()]
    if pointers and not (job.worktree / path).exists():
        get_data(job, pointers)


@task(**NETWORK, task_run_name="get data")
def get_data(job: Job, pointers: list[str]) -> None:
    """From DVC's cache, or else from the remote."""
    dvc_storage.pull(job.worktree, pointers, get_run_logger().info, children=job.children)


def _judge_data(job: Job, accept_drift: bool) -> dict[str, State]:
    """Run the data stages, and stop where what came out is of another kind than the last release's."""
    if DATA_STAGE not in dvc_project.graph(job.worktree):
        return {}
    states = run_stages(job.worktree, job.children, stages=[DATA_STAGE])
    if (state := conclude(states)).is_failed():
        raise StopError(state)
    report = Paths(job.worktree).cleaning_report
    before = Side(job.worktree, job.released.revision if job.released else job.start).json(report)
    checks = drift.drift(before, json.loads(report.read_text(encoding="utf-8")), job.params.retrain)
    for check in checks:
        job.log(f"drift, {check.name}: {check.outcome}: {check.reason}")
    failed = [f"{check.name}: {check.reason}" for check in checks if check.outcome == "fail"]
    if failed and not accept_drift:
        message = f"the data has drifted. {' '.join(failed)} Nothing was trained. Accept it with --accept-drift."
        raise StopError(Failed(name="Blocked", message=message))
    return states


def _stages(job: Job, known: Mapping[str, State]) -> None:
    """Run what is not up to date; what was altered in DVC's cache is made again before anything is believed."""
    for _ in range(MENDS):
        state = conclude(run_stages(job.worktree, job.children, known=known))
        altered = dvc_storage.altered(job.worktree)
        if not altered:
            break
        dvc_storage.discard(job.worktree, altered)
    else:
        raise DvcError(f"{altered[0].file} is altered again and again. Check the disk of {altered[0].cached}.")
    if state.is_failed():
        raise StopError(state)


def _propose(job: Job, branch: str, approve: Approval, news: tuple[str, ...]) -> State:
    found = _review(job)
    gate = found.decision.outcome if found.decision else "no verdict"
    subject = f"Retrain: {_headline(found)}; the gate says {gate}"
    body = "\n".join([*(f"- {line}" for line in news), "", as_markdown(found)])
    publish_review(found, job.root / "artifacts/review/retrain.html", subject)
    send_data(job)
    name = proposals.branch_name(job.worktree)
    commit = proposals.commit(job.worktree, subject, body)
    send_branch(job.root, name, commit)
    address = _pull_request(job, name, branch, subject, body)
    told = f"{subject}. {address or f'Branch {name}'}."
    if gate != "pass":
        return Failed(name="Blocked", message=f"{told}\n{_why(found.decision)}")
    if approve == "by hand":
        return Completed(name="Proposed", message=f"{told} Merge it, then release it: winnow promote.")
    return _promote(job, branch, commit, told)


def _review(job: Job) -> Review:
    """Against what is released, or else against where the run started."""
    released = job.released.revision if job.released else None
    judge = rejudged(job.worktree, released) if released else (lambda _: None)
    return gather(job.worktree, released or job.start, released=judge)


def _headline(found: Review) -> str:
    view = next(view for view in found.after if view.name == found.candidate)
    values = {name: number(view.quality, key) for key, name in SHOWN.items()}
    return ", ".join(f"{name} {value:.1%}" for name, value in values.items() if value is not None) or "no metrics"


def _why(decision: Decision | None) -> str:
    if decision is None:
        return "There is nothing to judge."
    return "\n".join(f"{c.name}: {c.outcome}: {c.reason}" for c in decision.checks if c.outcome != "pass")


@task(**NETWORK, task_run_name="send data")
def send_data(job: Job) -> None:
    """Data and models to the DVC remote: before any branch names them."""
    dvc_storage.push(job.worktree, get_run_logger().info, children=job.children)


@task(**NETWORK, task_run_name="send branch")
def send_branch(root: Path, name: str, commit: str) -> None:
    """The proposal's branch, here and at origin."""
    proposals.publish(root, name, commit)


def _send_again(job: Job, reference: str, branch: str) -> None:
    """Finish what a killed or refused run began: the branch is here, and origin has none."""
    if proposals.is_published(job.root, reference):
        return
    name = proposals.short(reference)
    send_branch(job.root, name, git.commit_of(job.root, reference))
    subject, _, body = git.read(job.root, "show", "--no-patch", "--format=%s%n%b", reference).partition("\n")
    _pull_request(job, name, branch, subject, body)


def _pull_request(job: Job, name: str, branch: str, subject: str, body: str) -> str | None:
    try:
        address = proposals.pull_request(job.root, name, branch, subject, body)
    except GitError as error:
        job.log(f"{error}. The branch {name} is the proposal.")
        return None
    if address:
        create_link_artifact(address, key="pull-request", description=subject)
    return address


def _promote(job: Job, branch: str, commit: str, told: str) -> State:
    """Release the proposal, and let the branch have it where that loses nothing."""
    with one_at_a_time(lock_file(job.root, "reproduce"), job.log):
        release = releases.promote(job.root, commit)
    if git.has_origin(job.root):
        with contextlib.suppress(GitError):  # a protected branch takes it by a pull request
            git.read(job.root, "push", "--no-verify", "origin", f"{commit}:refs/heads/{branch}")
    return Completed(name="Promoted", message=f"released {release.version}. {told}")


def _skipped(reason: str) -> State:
    return Completed(name="Skipped", message=reason)


def run(root: Path, base: str | None, approve: Approval, *, accept_drift: bool) -> tuple[bool, str]:
    """Run the flow in this process. Returns whether all went well, and the state's name with its message."""
    with ending_signals_raise():
        state: State = retrain(root, base, approve, accept_drift, return_state=True)
    return state.is_completed(), masked(f"{state.name}: {state.message}")
