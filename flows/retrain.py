"""Flow `retrain`: newest data -> drift -> reproduce -> gate -> proposal, in a worktree that nobody else sees.

Nothing is published before all of it is there: data first, then the branch, then, where that is wanted, the release.
Prefect sends the flow to another process: annotations are objects here, as the names of its types are not known there,
and what cannot be pickled is in other files.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from prefect import flow, task
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed, State

from flows.dvc import planning, storage
from flows.dvc.command import DvcError
from flows.dvc.locked import definitions
from flows.dvc.worktrees import worktree
from flows.releases import released_data, releases, tags
from flows.reproduce import STAGE_RUNNER, conclude, run_stages
from flows.retraining import proposing, starting
from flows.retraining.job import NETWORK, Approval, Job, StopError, skipped
from flows.retraining.refresh import inputs_of, not_here, refresh
from flows.running import git
from flows.running.cancelling import ended_when_cancelled
from flows.running.console import plain
from flows.running.described import name_run, run_name, tag_run
from flows.running.locks import lock_file, one_at_a_time
from flows.running.masking import masked
from flows.running.processes import Children, EndedError, ended_says, ends_quietly
from flows.running.root import here, retraining_in
from flows.serving.schedules import superseded
from flows.serving.temporary import start_temporary_server

DATA_STAGE = "validate"  # with all before it, what is run before the data is judged
STOPPED = "stopped. What had ended is in DVC's cache; `winnow retrain` takes it from there and runs the rest."
MENDS = 3  # attempts to make altered objects of the cache again


@flow(name="retrain", flow_run_name=run_name, task_runner=STAGE_RUNNER, persist_result=False)  # type: ignore[arg-type]  # invariant
def retrain(
    base: str | None = None,
    approve: Approval = "by hand",
    accept_drift: bool = False,
) -> State:
    """Retrain on the newest data, and propose the result as a branch on top of `base`.

    It is of the clone that this runs in (see `retraining_in`). `base`: without it, the branch that is checked out
    there. `approve`: whether a proposal that the gate passes is released at once. By `accept_drift`, data that differs
    from the last release's is trained on all the same. Ends as Skipped, Proposed, Promoted, Blocked or Failed.
    """
    log = get_run_logger()
    tag_run()
    if reason := superseded():
        return skipped(reason)
    try:
        clone = here()
        with (
            ends_quietly(),
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
        return skipped(f"{holder} is retraining in this clone")
    except StopError as stop:
        return stop.state
    except (RuntimeError, ValueError, OSError, httpx.HTTPError) as error:
        return Failed(message=masked(str(error)))


def _retrain(
    root: Path, base: str | None, approve: Approval, accept_drift: bool, children: Children, log: Callable[[str], None]
) -> State:
    starting.check_clone(root)
    if git.has_origin(root):
        fetch(root)
    branch = starting.base_branch(root, base)
    if approve == "when the gate passes":
        starting.check_published(root, branch)
    released = releases.released(root)
    start = starting.start_of(root, branch, released, log)
    with worktree(root, start) as folder:
        job = Job(root, folder, start, released, children, log)
        starting.tell_what_stays(job)
        news = get_news(job)
        stale = planning.stale(folder)
        name_run(masked("; ".join(news) or ("code or parameters" if stale else "nothing new")))
        if not stale:
            return skipped(f"nothing new: no stage of {branch} would run")
        log(f"new: {'; '.join(news) or 'code or parameters'}; would run: {', '.join(stale)}")
        if found := proposing.proposed_before(job, approve):
            return proposing.finish(job, found, branch, approve)
        with one_at_a_time(lock_file(root, "reproduce"), lambda who: log(f"waiting: {who} reproduces here")):
            _bring_data(job)
            _stages(job, known=_judge_data(job, accept_drift))
        return proposing.propose(job, branch, approve, news)


@task(**NETWORK, task_run_name="fetch")
def fetch(root: Path) -> None:
    """Fetch origin's branches and release tags. Other tags are left out: one that moved would make the fetch fail."""
    git.read(root, "-c", "fetch.pruneTags=false", "fetch", "--quiet", "--prune", "--no-tags", "origin")
    tags.receive(root)


@task(**NETWORK, task_run_name="refresh")
def get_news(job: Job) -> tuple[str, ...]:
    """Bring the newest data into the worktree. Returns what is new, in words."""
    return refresh(job.root, job.worktree, job.start, job.params, get_run_logger().info, job.children)


def _bring_data(job: Job) -> None:
    """Bring the data, and a pretrained model in a folder, that DVC keeps to the places where the pipeline reads them.

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
    """Get the data from DVC's cache, or else from the remote."""
    storage.pull(job.worktree, pointers, get_run_logger().info, children=job.children)


def _judge_data(job: Job, accept_drift: bool) -> dict[str, State]:
    """Run the data stages, and stop where their data has drifted from the last release's."""
    if DATA_STAGE not in definitions(job.worktree):
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
    """Run the outdated stages; outs that were altered in DVC's cache are made again first."""
    for _ in range(MENDS):
        state = conclude(run_stages(job.worktree, job.children, known=known))
        altered = storage.altered(job.worktree)
        if not altered:
            break
        storage.discard(job.worktree, altered)
    else:
        raise DvcError(f"{altered[0].file} is altered again and again. Check the disk of {altered[0].cached}.")
    if state.is_failed():
        raise StopError(state)


def run(root: Path, base: str | None, approve: Approval, *, accept_drift: bool) -> tuple[bool, str]:
    """Run the flow in this process. Returns whether all went well, and the state's name with its message."""
    plain()
    with ended_says(STOPPED), retraining_in(root):
        start_temporary_server()
        state: State = retrain(base, approve, accept_drift, return_state=True)
    return state.is_completed(), masked(f"{state.name}: {state.message}")
