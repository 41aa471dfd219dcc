"""The handling of a retraining's result: it is judged, proposed as a branch, and released where that is wanted.

    proposed before? -- by this clone ----> what is left of it is done
                     -- by another one ---> nothing; to be released unseen, all is run and judged here
                     -- no ---------------> data to the remote, a commit, a verdict in .git, a branch; a release

Annotations are objects here: Prefect sends the flow to another process, where the names of its types are not known.
"""

import contextlib
import dataclasses
from functools import partial
from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State

from flows.dvc import storage
from flows.gate.rejudged import rejudged
from flows.releases import released_data, releases
from flows.retraining import proposal_files, proposal_records, proposals
from flows.retraining.job import NETWORK, Approval, Job, skipped
from flows.retraining.proposal_records import Judged
from flows.retraining.proposals import Proposal
from flows.review.comparison import gather
from flows.review.evidence import STOPS, Decision, Review, number
from flows.review.markdown import value
from flows.review.published import publish_review
from flows.review.pull_request import as_markdown
from flows.running import git
from flows.running.git import GitError
from flows.running.locks import lock_file, one_at_a_time


def proposed_before(job: Job, approve: Approval) -> Proposal | None:
    """An open proposal of the same inputs, with its verdict known where that matters; None where there is none.

    One for which drift was accepted was compared with nothing. Where none is found, the worktree's data is compared
    with that of the release from here on.
    """
    profile = released_data.profile_of(job.worktree, job.released.revision if job.released else job.start)
    if profile is None:
        job.log("what is released has no profile of its data (metrics/data/profile.json): nothing is compared")
        profile = released_data.NOTHING
    for reference in dict.fromkeys((released_data.NOTHING, profile)):
        released_data.remember(job.worktree, reference)
        found = proposals.same_inputs(job.root, job.worktree, job.start, job.log)
        if found and not _is_to_be_judged_here(job, found, approve):
            return found
    return None


def _is_to_be_judged_here(job: Job, found: Proposal, approve: Approval) -> bool:
    """Whether a proposal that is to be released is known from its branch alone: then all is run and judged here again.

    The texts of such a branch may be forged, and the outs in its dvc.lock need not come from the data in it.
    """
    if found.judged or approve == "by hand" or proposals.claimed(job.root, found.commit) != "pass":
        return False
    job.log(f"{found.name} was not made by this clone, so what it says is no reason to release it: all is run here")
    return True


def propose(job: Job, branch: str, approve: Approval, news: tuple[str, ...]) -> State:
    found = _review(job)
    gate = found.decision.outcome if found.decision else "no verdict"
    subject = f"Retrain: {_headline(found)}; the gate says {gate}"
    body = "\n".join([*(f"- {line}" for line in news), "", as_markdown(found)])
    publish_review(found, job.root / "artifacts/review/retrain.html", subject)
    send_data(job)
    commit = proposals.commit(job.worktree, subject, body, gate)
    proposal_records.remember(job.root, commit, Judged(gate, job.released.revision if job.released else None))
    name, address = _send(job, proposals.branch_name(job.worktree), commit, branch, subject, body)
    told = f"{subject}. {address or f'Branch {name}'}."
    if gate != "pass":
        return Failed(name="Blocked", message=f"{told}\n{_why(found.decision)}")
    why = proposal_files.refusal(job.root, commit, job.start)
    if approve == "by hand" or why:
        unseen = f" It is not released unseen: {why}." if why else ""
        return Completed(name="Proposed", message=f"{told}{unseen} Merge it, then release it: winnow promote.")
    return _promote(job, branch, commit, told)


def _review(job: Job) -> Review:
    """The review against the release, or else against the commit that the run started from."""
    released = job.released.revision if job.released else None
    judge = rejudged(job.worktree, released) if released else (lambda _: None)
    found = gather(job.worktree, released or job.start, released=judge, again=partial(rejudged, job.worktree))
    name = job.released.version if job.released else job.start[:7]  # nobody knows a commit by its forty digits
    return dataclasses.replace(found, base=dataclasses.replace(found.base, name=name))


def _headline(found: Review) -> str:
    view = next(view for view in found.after if view.name == found.candidate)
    values = [(one, number(view.quality, one.name)) for one in found.measures]
    named = [f"{one.title} {value(known, one.unit)}" for one, known in values if known is not None]
    return ", ".join(named) or "no metrics"


def _why(decision: Decision | None) -> str:
    if decision is None:
        return "There is nothing to judge."
    return "\n".join(f"{c.name}: {c.outcome}: {c.reason}" for c in decision.checks if c.outcome in STOPS)


@task(**NETWORK, task_run_name="send data")
def send_data(job: Job) -> None:
    """Send data and models to the DVC remote, before any branch names them."""
    storage.push(job.worktree, get_run_logger().info, children=job.children)


@task(**NETWORK, task_run_name="send branch")
def send_branch(root: Path, name: str, commit: str) -> None:
    """Publish the proposal's branch, here and at origin."""
    proposals.publish(root, name, commit)


def finish(job: Job, found: Proposal, branch: str, approve: Approval) -> State:
    """Complete a proposal that a killed or refused run has left unfinished; one from elsewhere stays as it is."""
    if found.judged is None:
        return skipped(f"already proposed: {found.name}, which this clone did not make")
    if not proposals.was_sent(job.root, found.reference, found.commit):
        subject, _, body = git.read(job.root, "show", "--no-patch", "--format=%s%n%b", found.commit).partition("\n")
        _send(job, found.name, found.commit, branch, subject, body)
    told = f"already proposed: {found.name}"
    # One that was released before, and is no more, was taken back by somebody.
    before = {release.revision for release in releases.history(job.root)}
    if approve == "by hand" or found.judged.gate != "pass" or found.commit in before:
        return skipped(told)
    if found.judged.against != (job.released.revision if job.released else None):
        return skipped(f"{told}. It was judged against another release, so it is not released unseen")
    if why := proposal_files.refusal(job.root, found.commit, job.start):
        return skipped(f"{told}. It is not released unseen: {why}")
    return _promote(job, branch, found.commit, told)


def _send(job: Job, name: str, commit: str, branch: str, subject: str, body: str) -> tuple[str, str | None]:
    """Send the branch and open a pull request, both only once: a request that a reviewer closes stays closed.

    Returns the branch's name, which differs from `name` where that is taken, and the request's address.
    """
    free = proposals.free_name(job.root, name, commit)
    send_branch(job.root, free, commit)
    address = _pull_request(job, free, branch, subject, body)
    for sent in {name, free}:
        proposals.mark_sent(job.root, sent, commit)
    return free, address


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
    """Release the proposal, and move the branch to it where nothing is lost by that."""
    with one_at_a_time(lock_file(job.root, "reproduce"), lambda who: job.log(f"waiting: {who} reproduces here")):
        release = releases.promote(job.root, commit)
    if git.has_origin(job.root):
        with contextlib.suppress(GitError):  # a protected branch takes it by a pull request
            git.read(job.root, "push", "--no-verify", "origin", f"{commit}:refs/heads/{branch}")
    return Completed(name="Promoted", message=f"released {release.version}. {told}")
