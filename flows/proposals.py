"""A retrained model as a branch that somebody can merge: the same inputs make one proposal, however often they come."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from flows import dvc_project, git
from flows.masking import masked
from stages.yaml_text import parse

PREFIX = "winnow/retrain-"
GATE = "Winnow-Gate"  # the trailer of a proposal's commit that says what the gate said
GH_SECONDS = 120


def same_inputs(worktree: Path, base: str) -> str | None:
    """The branch of an open proposal that was made of what `worktree` holds; None where there is none.

    DVC judges: with that proposal's dvc.lock, no stage would run. A proposal is open until `base` has it.
    """
    for name in _open(worktree, base):
        proposed = git.attempt(worktree, "show", f"{name}:./dvc.lock")
        if proposed.returncode == 0 and _fits(worktree, proposed.stdout):
            return name
    return None


def _fits(worktree: Path, lock: str) -> bool:
    """Whether no stage would run with the text `lock` as dvc.lock."""
    outs = [
        out["path"]
        for stage in (parse(lock, "dvc.lock") or {}).get("stages", {}).values()
        for out in stage.get("outs", [])
    ]
    # What is not here counts as what the lock says it is: so metrics of another run go out of the way.
    aside = {path: path.read_bytes() for path in map(worktree.joinpath, ("dvc.lock", *outs)) if path.is_file()}
    try:
        for path in aside:
            path.unlink()
        (worktree / "dvc.lock").write_text(lock, encoding="utf-8")
        return not dvc_project.stale(worktree)
    finally:
        (worktree / "dvc.lock").unlink(missing_ok=True)
        for path, content in aside.items():
            path.write_bytes(content)


def _open(root: Path, base: str) -> list[str]:
    """Proposals that are no part of `base`, newest first: of this clone, and those that only origin has."""
    form, patterns = "%(objectname) %(refname)", [f"refs/heads/{PREFIX}*", f"refs/remotes/origin/{PREFIX}*"]
    listed = git.read(
        root, "for-each-ref", "--sort=-committerdate", f"--format={form}", f"--no-merged={base}", *patterns
    )
    by_commit: dict[str, str] = {}
    for line in listed.splitlines():
        made, name = line.split()
        by_commit.setdefault(made, name)
    return list(by_commit.values())


def commit(worktree: Path, subject: str, body: str, gate: str) -> str:
    """Commit everything of `worktree` but what git ignores; no branch moves. Returns the commit.

    What the gate said is kept as a trailer.
    """
    git.read(worktree, "add", "--all")
    message = masked(f"{subject}\n\n{body.rstrip()}\n\n{GATE}: {gate}\n")
    quiet = ["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
    arguments = [*quiet, "commit", "--quiet", "--cleanup=verbatim", "--file=-"]
    git.read(worktree, *arguments, text=message, **git.identity(worktree))
    return git.commit_of(worktree, "HEAD")


def gate_of(root: Path, commit: str) -> str:
    """What the gate said of a proposal; empty for a commit that is none."""
    return git.read(root, "show", "--no-patch", f"--format=%(trailers:key={GATE},valueonly)", commit).strip()


def branch_name(worktree: Path) -> str:
    """By what went in, so that the same inputs give the same name."""
    return f"{PREFIX}{_inputs(worktree)[:12]}"


def _inputs(worktree: Path) -> str:
    """SHA-256 over dvc.lock: each stage's command, parameters, and dependencies that no stage makes."""
    stages = dvc_project.lock_of(worktree).get("stages", {})
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
    """The branch `name` at the commit `made`, here and at origin where there is one.

    Raises GitError where origin refuses; the branch is then here, and the next attempt sends it.
    """
    git.read(root, "branch", "--force", "--no-track", name, made)
    if git.has_origin(root):
        git.read(root, "push", "--force", "--no-verify", "origin", f"refs/heads/{name}:refs/heads/{name}")


def short(reference: str) -> str:
    """A branch's name as people write it."""
    return reference.removeprefix("refs/heads/").removeprefix("refs/remotes/")


def was_sent(root: Path, reference: str, made: str) -> bool:
    """Whether all of the proposal was sent once; a branch that is at origin no more was taken away by somebody."""
    if not git.has_origin(root) or reference.startswith("refs/remotes/"):
        return True
    return git.attempt(root, "rev-parse", "--verify", "--quiet", _sent(short(reference))).stdout.strip() == made


def mark_sent(root: Path, name: str, made: str) -> None:
    """Remember that the proposal `name` was sent as the commit `made`."""
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
