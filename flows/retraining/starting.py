"""The start of a retraining: whether the clone can be retrained, for which branch, and from which commit."""

from collections.abc import Callable
from pathlib import Path

from flows.dvc import storage
from flows.releases.releases import Release
from flows.retraining import proposal_files, proposals
from flows.retraining.job import Job
from flows.retraining.refresh import pointers_of
from flows.running import git


def check_clone(root: Path) -> None:
    """Raises ValueError, with the next step, where retraining could not end well."""
    if git.attempt(root, "rev-parse", "--is-inside-work-tree").returncode != 0:
        raise ValueError(f"{root}: no git repository, so there is nothing to propose to. `git init`, then commit.")
    if git.attempt(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
        raise ValueError(
            f"{root}: no commit yet, so there is nothing to start from. `git add` your files, `git commit`."
        )
    if not storage.has_remote(root):
        raise ValueError(
            "no DVC remote is set, so nobody could get a proposal's data. Set one: dvc remote add --default NAME URL."
        )


def base_branch(root: Path, base: str | None) -> str:
    """The branch to propose to. Raises ValueError where there is none, here or at origin."""
    branch = base or git.branch(root)
    if branch is None:
        raise ValueError("HEAD is detached, so the branch to propose to is not known. Name it: --base main.")
    if not any(_heads(root, branch)):
        there = git.read(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes/origin")
        names = sorted({name.removeprefix("origin/") for name in there.splitlines()} - {"HEAD", "origin"})
        kept = [name for name in names if not name.startswith(proposals.PREFIXES)]
        raise ValueError(f"there is no branch '{branch}', here or at origin. Allowed: {', '.join(kept)}.")
    return branch


def _heads(root: Path, branch: str) -> tuple[str, str]:
    """The commits of the branch here and at origin; empty where the branch is missing."""
    here, there = (
        git.attempt(root, "rev-parse", "--verify", "--quiet", f"refs/{kind}/{branch}^{{commit}}").stdout.strip()
        for kind in ("heads", "remotes/origin")
    )
    return here, there


def check_published(root: Path, branch: str) -> None:
    """Raises ValueError where publishing a release would also publish commits that somebody has not pushed yet."""
    here, there = _heads(root, branch)
    if here and there and not _is_part(root, here, there):
        raise ValueError(
            f"{branch} has commits that origin lacks, and an automatic release would publish them. "
            f"`git push origin {branch}`, or approve by hand."
        )


def start_of(root: Path, branch: str, released: Release | None, log: Callable[[str], None]) -> str:
    """The commit to start from: the branch, or a newer one: origin's, or a release of new data on top of it.

    A release with more changes than that has code that the branch has not taken, and a tag is no reason to run it.
    """
    start, *newer = filter(None, _heads(root, branch))
    for commit in newer:
        if _is_part(root, start, commit):
            start = commit
    if released is None or not _is_part(root, start, released.revision):
        return start
    if more := next(proposal_files.more_than_results(root, start, released.revision), None):
        log(f"{released.version} is on top of {branch}, which does not have all of it ({more}): this starts without it")
        return start
    return released.revision


def _is_part(root: Path, commit: str, of: str) -> bool:
    return git.attempt(root, "merge-base", "--is-ancestor", commit, of).returncode == 0


def tell_what_stays(job: Job) -> None:
    """Log which changes in the clone are left out because they are not committed."""
    path = Path(job.params.ingest.path)
    data = [] if job.params.ingest.is_outside else [path, *pointers_of(job.worktree, path)]
    taken = [f":(exclude,literal){file.as_posix()}" for file in data]
    status = ["status", "--porcelain", "--untracked-files=no", "--", ".", *taken]
    dirty = git.attempt(job.root, *status).stdout.splitlines()
    if dirty:
        names = ", ".join(line[3:] for line in dirty[:5])
        job.log(f"the clone has changes that are not committed, and take no part: {names}")
