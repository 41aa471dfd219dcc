"""Flow `retrain`: newest data -> drift -> reproduce -> gate -> proposal, in a worktree that nobody else sees.

Nothing is published before all of it is there: data first, then the branch, then, where that is wanted, the release.
Annotations are objects here: Prefect sends the flow to another process, where the names of its types are not known.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
from prefect import flow, task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed, State

from flows import dvc_project, dvc_storage, git, proposals, released_data, releases
from flows.comparison import gather
from flows.described import run_name, tag_run
from flows.dvc_project import DvcError
from flows.evidence import STOPS, Decision, Review, number
from flows.git import GitError
from flows.locks import lock_file, one_at_a_time
from flows.masking import masked
from flows.processes import Children, EndedError, ending_signals_raise
from flows.refresh import inputs_of, not_here, refresh
from flows.rejudged import rejudged
from flows.releases import Release
from flows.reproduce import (
    STAGE_RUNNER,
    conclude,
    ended_when_cancelled,
    publish_review,
    run_stages,
    start_server_deaf_to_ctrl_c,
)
from flows.review import as_markdown
from flows.root import find_root
from flows.same_rows import SHOWN
from flows.serving import superseded
from flows.worktrees import worktree
from stages.params import Params, load_params

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
        try:
            return load_params(self.worktree / "params.yaml")
        except ValueError as error:
            if git.attempt(self.root, "diff", "--quiet", "HEAD", self.start, "--", "stages/params.py").returncode == 0:
                raise
            raise ValueError(f"{error}\nThis clone's code is not that of {self.start[:7]}: `git pull`.") from None


@flow(name="retrain", flow_run_name=run_name, task_runner=STAGE_RUNNER, persist_result=False)  # type: ignore[arg-type]  # invariant
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
    tag_run()
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
    except (RuntimeError, ValueError, OSError, httpx.HTTPError) as error:
        return Failed(message=masked(str(error)))


def _retrain(
    root: Path, base: str | None, approve: Approval, accept_drift: bool, children: Children, log: Callable[[str], None]
) -> State:
    _check_clone(root)
    if git.has_origin(root):
        fetch(root)
    branch = _branch(root, base)
    if approve == "when the gate passes":
        _check_published(root, branch)
    released = releases.released(root)
    start = _start(root, branch, released)
    with worktree(root, start) as folder:
        job = Job(root, folder, start, released, children, log)
        _tell_what_stays(job)
        news = get_news(job)
        stale = dvc_project.stale(folder)
        if not stale:
            return _skipped(f"nothing new: no stage of {branch} would run")
        log(f"new: {'; '.join(news) or 'code or parameters'}; would run: {', '.join(stale)}")
        if open_proposal := _proposed_before(job):
            return _finish(job, open_proposal, branch, approve)
        with one_at_a_time(lock_file(root, "reproduce"), lambda who: log(f"waiting: {who} reproduces here")):
            _bring_data(job)
            _stages(job, known=_judge_data(job, accept_drift))
        return _propose(job, branch, approve, news)


def _check_clone(root: Path) -> None:
    """Raises ValueError, with the next step, where retraining could not end well."""
    if git.attempt(root, "rev-parse", "--is-inside-work-tree").returncode != 0:
        raise ValueError(f"{root}: no git repository, so there is nothing to propose to. `git init`, then commit.")
    if git.attempt(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
        raise ValueError(
            f"{root}: no commit yet, so there is nothing to start from. `git add` your files, `git commit`."
        )
    if not dvc_storage.has_remote(root):
        raise ValueError(
            "no DVC remote is set, so nobody could get a proposal's data. Set one: dvc remote add --default NAME URL."
        )


def _branch(root: Path, base: str | None) -> str:
    """The branch to propose to. Raises ValueError where there is none, here or at origin."""
    branch = base or git.branch(root)
    if branch is None:
        raise ValueError("HEAD is detached, so the branch to propose to is not known. Name it: --base main.")
    if not any(_heads(root, branch)):
        there = git.read(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes/origin")
        names = sorted({name.removeprefix("origin/") for name in there.splitlines()} - {"HEAD", "origin"})
        kept = [name for name in names if not name.startswith(proposals.PREFIX)]
        raise ValueError(f"there is no branch '{branch}', here or at origin. Allowed: {', '.join(kept)}.")
    return branch


def _heads(root: Path, branch: str) -> tuple[str, str]:
    """The commits of the branch here and at origin; empty where it is not."""
    here, there = (
        git.attempt(root, "rev-parse", "--verify", "--quiet", f"refs/{kind}/{branch}^{{commit}}").stdout.strip()
        for kind in ("heads", "remotes/origin")
    )
    return here, there


def _check_published(root: Path, branch: str) -> None:
    """Raises ValueError where to publish a release would publish commits that somebody has not pushed yet."""
    here, there = _heads(root, branch)
    if here and there and git.attempt(root, "merge-base", "--is-ancestor", here, there).returncode != 0:
        raise ValueError(
            f"{branch} has commits that origin lacks, and an automatic release would publish them. "
            f"`git push origin {branch}`, or approve by hand."
        )


def _start(root: Path, branch: str, released: Release | None) -> str:
    """The commit to start from: the branch, or what is newer: origin's, or the release made on top of it."""
    start, *newer = filter(None, (*_heads(root, branch), released.revision if released else ""))
    for commit in newer:
        if git.attempt(root, "merge-base", "--is-ancestor", start, commit).returncode == 0:
            start = commit
    return start


def _tell_what_stays(job: Job) -> None:
    """Say which changes in the clone have no part in this, since they are not committed."""
    path = job.params.ingest.path
    others = ["--", ".", *([] if job.params.ingest.is_outside else [f":(exclude){path}*"])]
    dirty = git.attempt(job.root, "status", "--porcelain", "--untracked-files=no", *others).stdout.splitlines()
    if dirty:
        names = ", ".join(line[3:] for line in dirty[:5])
        job.log(f"the clone has changes that are not committed, and take no part: {names}")


@task(**NETWORK, task_run_name="fetch")
def fetch(root: Path) -> None:
    """What origin has: its branches, its releases. Other tags are not asked for: one that moved would stop all."""
    git.read(root, "-c", "fetch.pruneTags=false", "fetch", "--quiet", "--prune", "--no-tags", "origin")
    releases.receive(root)


@task(**NETWORK, task_run_name="refresh")
def get_news(job: Job) -> tuple[str, ...]:
    """Bring the newest data into the worktree; says what is new."""
    return refresh(job.root, job.worktree, job.start, job.params, get_run_logger().info, job.children)


def _bring_data(job: Job) -> None:
    """What DVC keeps of the data, and of a pretrained model in a folder, where the pipeline reads it.

    Raises ValueError for a model that neither git nor DVC keeps.
    """
    model, inputs = Path(job.params.model.name), inputs_of(job.root, job.params)
    if pointers := not_here(job.worktree, inputs):
        get_data(job, pointers)
    if model in inputs and not (job.worktree / model).exists():
        raise ValueError(
            f"params.yaml: model.name is '{model}', a folder that neither git nor DVC keeps, so nobody could reproduce "
            f"a proposal. Keep it: `dvc add {model}`, then commit."
        )


@task(**NETWORK, task_run_name="get data")
def get_data(job: Job, pointers: list[str]) -> None:
    """From DVC's cache, or else from the remote."""
    dvc_storage.pull(job.worktree, pointers, get_run_logger().info, children=job.children)


def _proposed_before(job: Job) -> str | None:
    """An open proposal of the same inputs; one for which drift was accepted was compared with nothing.

    From here on the worktree's data is compared with that of the release.
    """
    profile = released_data.profile_of(job.worktree, job.released.revision if job.released else job.start)
    if profile is None:
        job.log("what is released has no profile of its data (metrics/data/profile.json): nothing is compared")
        profile = released_data.NOTHING
    for reference in dict.fromkeys((released_data.NOTHING, profile)):
        released_data.remember(job.worktree, reference)
        if found := proposals.same_inputs(job.worktree, job.start):
            return found
    return None


def _judge_data(job: Job, accept_drift: bool) -> dict[str, State]:
    """Run the data stages, and stop where what came out is of another kind than the last release's."""
    if DATA_STAGE not in dvc_project.definitions(job.worktree):
        return {}
    states = run_stages(job.worktree, job.children, stages=[DATA_STAGE])
    if (state := conclude(states)).is_failed() and (changes := released_data.drift(job.worktree)):
        if not accept_drift:
            message = "\n".join(
                ["the data has drifted.", *changes, "Nothing was trained. Accept it with --accept-drift."]
            )
            raise StopError(Failed(name="Blocked", message=message))
        job.log("\n".join(["accepted, and compared with nothing:", *changes]))
        released_data.remember(job.worktree, released_data.NOTHING)
        states = run_stages(job.worktree, job.children, stages=[DATA_STAGE], known=states)
        state = conclude(states)
    if state.is_failed():
        raise StopError(state)
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
    commit = proposals.commit(job.worktree, subject, body, gate)
    address = _send(job, name, commit, branch, subject, body)
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
    return gather(job.worktree, released or job.start, released=judge, again=partial(rejudged, job.worktree))


def _headline(found: Review) -> str:
    view = next(view for view in found.after if view.name == found.candidate)
    values = {name: number(view.quality, key) for key, name in SHOWN.items()}
    return ", ".join(f"{name} {value:.1%}" for name, value in values.items() if value is not None) or "no metrics"


def _why(decision: Decision | None) -> str:
    if decision is None:
        return "There is nothing to judge."
    return "\n".join(f"{c.name}: {c.outcome}: {c.reason}" for c in decision.checks if c.outcome in STOPS)


@task(**NETWORK, task_run_name="send data")
def send_data(job: Job) -> None:
    """Data and models to the DVC remote: before any branch names them."""
    dvc_storage.push(job.worktree, get_run_logger().info, children=job.children)


@task(**NETWORK, task_run_name="send branch")
def send_branch(root: Path, name: str, commit: str) -> None:
    """The proposal's branch, here and at origin."""
    proposals.publish(root, name, commit)


def _finish(job: Job, reference: str, branch: str, approve: Approval) -> State:
    """Do what a run that was killed, or refused, has left undone of the proposal `reference`."""
    name, commit = proposals.short(reference), git.commit_of(job.root, reference)
    if not proposals.was_sent(job.root, reference, commit):
        subject, _, body = git.read(job.root, "show", "--no-patch", "--format=%s%n%b", reference).partition("\n")
        _send(job, name, commit, branch, subject, body)
    told = f"already proposed: {name}"
    # One that was released before, and is no more, was taken back by somebody.
    before = {release.revision for release in releases.history(job.root)}
    if approve == "when the gate passes" and proposals.gate_of(job.root, commit) == "pass" and commit not in before:
        return _promote(job, branch, commit, told)
    return _skipped(told)


def _send(job: Job, name: str, commit: str, branch: str, subject: str, body: str) -> str | None:
    """The branch, and a pull request, once: what a reviewer closes stays closed. Returns the address of the latter."""
    send_branch(job.root, name, commit)
    address = _pull_request(job, name, branch, subject, body)
    proposals.mark_sent(job.root, name, commit)
    return address


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
    with one_at_a_time(lock_file(job.root, "reproduce"), lambda who: job.log(f"waiting: {who} reproduces here")):
        release = releases.promote(job.root, commit)
    if git.has_origin(job.root):
        with contextlib.suppress(GitError):  # a protected branch takes it by a pull request
            git.read(job.root, "push", "--no-verify", "origin", f"{commit}:refs/heads/{branch}")
    return Completed(name="Promoted", message=f"released {release.version}. {told}")


def _skipped(reason: str) -> State:
    return Completed(name="Skipped", message=reason)


def run(root: Path, base: str | None, approve: Approval, *, accept_drift: bool) -> tuple[bool, str]:
    """Run the flow in this process. Returns whether all went well, and the state's name with its message."""
    try:
        with ending_signals_raise():
            start_server_deaf_to_ctrl_c()
            state: State = retrain(root, base, approve, accept_drift, return_state=True)
    except KeyboardInterrupt:
        how = "`winnow retrain` takes it from there and runs the rest"
        raise KeyboardInterrupt(f"stopped. What had ended is in DVC's cache; {how}.") from None
    return state.is_completed(), masked(f"{state.name}: {state.message}")
