"""A retrained model as a branch that somebody can merge; the same inputs make one proposal, however often they come."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from flows.dvc import planning
from flows.dvc.command import DvcError
from flows.dvc.locked import lock_of
from flows.retraining import proposal_files, proposal_records
from flows.retraining.proposal_records import Judged
from flows.running import git
from flows.running.masking import masked

PREFIXES = "winnow/"  # of the branches of all projects in a repository
GATE = "Winnow-Gate"  # the trailer that tells people what the gate said; anybody can write it, so nothing trusts it
GH_SECONDS = 120


@dataclass(frozen=True)
class Proposal:
    """An open proposal, and this clone's verdict on its commit; None: the commit was made elsewhere."""

    reference: str  # "refs/remotes/origin/winnow/retrain-0a1b2c3d4e5f"
    commit: str
    judged: Judged | None

    @property
    def name(self) -> str:
        """The branch's name as people write it."""
        return short(self.reference)


def prefix(root: Path) -> str:
    """The beginning of the names of a project's branches: "winnow/retrain-", "winnow/FOLDER/retrain-"."""
    return f"{PREFIXES}{git.prefix(root)}retrain-"


def same_inputs(root: Path, worktree: Path, base: str, on_refused: Callable[[str], object]) -> Proposal | None:
    """The open proposal made of the inputs in `worktree`, one of this clone before others; None where there is none.

    DVC judges: with that proposal's dvc.lock, no stage would run. A proposal is open until `base` has it. `on_refused`
    is told once of each branch from elsewhere that only looks like a proposal.
    """
    for found in sorted(_open(root, base), key=lambda proposal: proposal.judged is None):
        if found.judged is None and _is_refused(root, found, base, on_refused):
            continue
        proposed = git.attempt(worktree, "show", f"{found.commit}:./dvc.lock")
        if proposed.returncode == 0 and _fits(worktree, proposed.stdout):
            return found
    return None


def _is_refused(root: Path, found: Proposal, base: str, on_refused: Callable[[str], object]) -> bool:
    if proposal_files.misplaced(root, found.commit, base):
        return True  # it may well be a proposal to another branch
    if not proposal_records.is_refused(root, found.commit):
        why = next(proposal_files.more_than_results(root, f"{found.commit}^", found.commit), None)
        if why is None:
            return False
        proposal_records.refuse(root, found.commit, why)
        on_refused(f"{found.name} ({found.commit[:7]}) is no proposal, and is left alone: {why}")
    return True


def _fits(worktree: Path, lock: str) -> bool:
    """Whether no stage would run with the text `lock` as dvc.lock; a text that DVC cannot read does not fit."""
    if _has_alias(lock):
        return False
    stages = lock_of(worktree).get("stages", {}).values()
    outs = [out["path"] for stage in stages for out in stage.get("outs", [])]
    # Missing outs count as unchanged since the lock, so metrics of another run are moved out of the way. The worktree's
    # own dvc.lock names them, as `lock` may name any file of this machine.
    aside = {path: path.read_bytes() for path in map(worktree.joinpath, ("dvc.lock", *outs)) if path.is_file()}
    try:
        for path in aside:
            path.unlink()
        (worktree / "dvc.lock").write_text(lock, encoding="utf-8")
        return not planning.stale(worktree)
    except (DvcError, ValueError, RecursionError):
        return False
    finally:
        (worktree / "dvc.lock").unlink(missing_ok=True)
        for path, content in aside.items():
            path.write_bytes(content)


def _has_alias(text: str) -> bool:
    """Whether the text is no YAML or has aliases, which DVC never writes: a few lines of them can fill the memory."""
    try:
        return any(isinstance(event, AliasEvent) for event in YAML(typ="safe").parse(text))
    except YAMLError:
        return True


def _open(root: Path, base: str) -> list[Proposal]:
    """Proposals that `base` does not have, newest first: those of this clone, and those that only origin has."""
    form, patterns = (
        "%(objectname) %(refname)",
        [f"{place}/{prefix(root)}*" for place in ("refs/heads", "refs/remotes/origin")],
    )
    listed = git.read(
        root, "for-each-ref", "--sort=-committerdate", f"--format={form}", f"--no-merged={base}", *patterns
    )
    by_commit: dict[str, str] = {}
    for line in listed.splitlines():
        made, name = line.split()
        by_commit.setdefault(made, name)
    return [Proposal(name, made, proposal_records.judged(root, made)) for made, name in by_commit.items()]


def commit(worktree: Path, subject: str, body: str, gate: str) -> str:
    """Commit everything in `worktree` that git does not ignore, without moving a branch. Returns the commit.

    The gate's verdict is put into a trailer, for people.
    """
    git.read(worktree, "add", "--all")
    message = masked(f"{subject}\n\n{body.rstrip()}\n\n{GATE}: {gate}\n")
    quiet = ["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
    arguments = [*quiet, "commit", "--quiet", "--cleanup=verbatim", "--file=-"]
    git.read(worktree, *arguments, text=message, **git.identity(worktree))
    return git.commit_of(worktree, "HEAD")


def claimed(root: Path, commit: str) -> str:
    """The gate's verdict in a commit's trailer, which anybody can write: it is only ever a reason to do nothing."""
    return git.read(root, "show", "--no-patch", f"--format=%(trailers:key={GATE},valueonly)", commit).strip()


def branch_name(worktree: Path) -> str:
    """A branch name derived from the inputs, so that the same inputs give the same name."""
    return f"{prefix(worktree)}{_inputs(worktree)[:12]}"


def free_name(root: Path, name: str, made: str) -> str:
    """The branch's name for the commit `made`: `name`, with a part of the hash where a commit from elsewhere has that.

    Branches that others pushed stay as they are.
    """
    there = [git.attempt(root, "rev-parse", "--verify", "--quiet", ref).stdout.strip() for ref in _references(name)]
    taken = any(found and proposal_records.judged(root, found) is None for found in there)
    return f"{name}-{made[:7]}" if taken else name


def _references(name: str) -> tuple[str, str]:
    return f"refs/heads/{name}", f"refs/remotes/origin/{name}"


def _inputs(worktree: Path) -> str:
    """SHA-256 over dvc.lock: each stage's command, parameters, and dependencies that no stage makes."""
    stages = lock_of(worktree).get("stages", {})
    made = tuple(out["path"] for stage in stages.values() for out in stage.get("outs", []))
    inputs = {
        name: {
            "cmd": stage["cmd"],
            "params": stage.get("params"),
            "deps": [
                (dep["path"], dep.get("md5", dep.get("etag")))  # of an object on S3
                for dep in stage.get("deps", [])
                if not dep["path"].startswith(made)
            ],
        }
        for name, stage in stages.items()
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def publish(root: Path, name: str, made: str) -> None:
    """Publish the branch `name` at the commit `made`, here and at origin where there is one.

    Raises GitError where origin refuses, or has got another branch of that name meanwhile; the branch is then here, and
    the next attempt sends it.
    """
    here, there = _references(name)
    git.read(root, "branch", "--force", "--no-track", name, made)
    if git.has_origin(root):
        known = git.attempt(root, "rev-parse", "--verify", "--quiet", there).stdout.strip()
        lease = f"--force-with-lease={here}:{known}"
        git.read(root, "push", lease, "--no-verify", "origin", f"{here}:{here}")


def short(reference: str) -> str:
    """A branch's name as people write it."""
    return reference.removeprefix("refs/heads/").removeprefix("refs/remotes/")


def was_sent(root: Path, reference: str, made: str) -> bool:
    """Whether all of the proposal was sent once; if its branch is missing at origin, somebody has removed it there."""
    if not git.has_origin(root) or reference.startswith("refs/remotes/"):
        return True
    return git.attempt(root, "rev-parse", "--verify", "--quiet", _sent(short(reference))).stdout.strip() == made


def mark_sent(root: Path, name: str, made: str) -> None:
    """Record that the proposal `name` was sent as the commit `made`."""
    git.read(root, "update-ref", _sent(name), made)


def _sent(name: str) -> str:
    return f"refs/winnow/sent/{name}"


def pull_request(root: Path, name: str, base: str, subject: str, body: str) -> str | None:
    """Open a pull request by the `gh` client, where there is one. Returns its address, or None.

    Raises GitError where `gh` refuses.
    """
    if shutil.which("gh") is None or not git.has_origin(root):
        return None
    arguments = ["gh", "pr", "create", "--head", name, "--base", base, "--title", subject, "--body-file", "-"]
    try:
        done = subprocess.run(
            arguments, cwd=root, input=masked(body), capture_output=True, text=True, check=False, timeout=GH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise git.GitError(f"gh pr create: no answer within {GH_SECONDS} s") from None
    if done.returncode != 0:
        raise git.GitError(masked(f"gh pr create: {' '.join(done.stderr.split()) or done.returncode}"))
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else None
