"""The two revisions of a review: which the base is, where it stands, and what is being compared with it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from flows.review.evidence import Revision
from flows.running import git

MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
CI_BRANCH = ("GITHUB_HEAD_REF", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")  # a runner checks out a commit, no branch
COMMITTED = (".gitignore", ".dvc", ".dvcignore", "params.yaml", "dvc.yaml", "dvc.lock", "metrics")
CODE = "stages"
WATCHED = ("params.yaml", "dvc.yaml", "dvc.lock", "metrics", CODE)  # what can change a result, or holds one


def default_base(root: Path) -> str:
    """The commit where this branch left the main one; on the main one HEAD, or its parent where nothing changed.

    On a branch that adds the project it is HEAD or its parent, too: where it left there was nothing to compare with.

    Raises ValueError where there is no commit to compare with.
    """
    head = git.attempt(root, "rev-parse", "--verify", "--quiet", "HEAD").stdout.strip()
    for main in MAIN:
        fork = git.attempt(root, "merge-base", "HEAD", main).stdout.strip()
        if fork and fork != head and git.attempt(root, "cat-file", "-e", f"{fork}:./params.yaml").returncode == 0:
            return fork
        if fork:
            break
    if head and changed(root) and git.attempt(root, "cat-file", "-e", "HEAD:./params.yaml").returncode == 0:
        return "HEAD"
    if git.attempt(root, "cat-file", "-e", "HEAD~1:./params.yaml").returncode == 0:
        return "HEAD~1"
    git.require_repository(root)
    if more := git.lacking(root):
        raise ValueError(f"there is no commit to compare with. Name one: winnow review --base REV.{more}")
    if head and not changed(root):
        raise ValueError(
            "there is nothing to compare yet: there is one commit of this project, and nothing has changed since. Each"
            " later run is compared with it."
        )
    raise ValueError(
        "there is no commit yet to compare with. Commit this run, and each later one is compared with it:"
        f" {commit(root)}"
    )


def commit(root: Path) -> str:
    """The commands that commit a run: parameters, dvc.lock, figures, changed code; data and models stay in DVC."""
    kept = [name for name in COMMITTED if (root / name).exists()]
    if git.attempt(root, "status", "--porcelain", "--", CODE).stdout.strip():
        kept.append(CODE)
    new = ("ls-files", "-z", "--modified", "--others", "--exclude-standard", "--")
    of_data = [Path(name) for name in git.attempt(root, *new, "*.dvc").stdout.split("\0") if name]
    beside = {str(path.parent / ".gitignore") for path in of_data if (root / path.parent / ".gitignore").exists()}
    kept += [*map(str, of_data), *sorted(beside - {*kept})]
    first = git.attempt(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0
    command = "git" if Path.cwd() == root else f"git -C {shlex.quote(str(root))}"
    return f"`{command} add {shlex.join(kept)} && {command} commit{' -m start' if first else ''}`"


def changed(root: Path) -> bool:
    """Whether anything that can change a result, or holds one, is not committed."""
    return bool(git.attempt(root, "status", "--porcelain", "--", *WATCHED).stdout.strip())


def head_of(root: Path) -> Revision:
    """What is compared with the base: the working tree, or, where that has no changes, its branch."""
    if changed(root):
        branch = git.branch(root)
        return Revision("the working tree", None, "changes that are not committed", f"on {branch}" if branch else "")
    commit = git.commit_of(root, "HEAD", short=True)
    branch = git.branch(root) or next(filter(None, map(os.environ.get, CI_BRANCH)), commit)
    return Revision(branch, commit, _subject(root, "HEAD"))


def base_of(root: Path, name: str, commit: str, *, asked: bool) -> Revision:
    """The base, a whole hash shortened; where nobody asked for it, with its place on the main branch."""
    shown = commit if re.fullmatch(r"[0-9a-f]{40,64}", name) else name
    left = next((main for main in MAIN if git.attempt(root, "merge-base", "HEAD", main).returncode == 0), "")
    if left.endswith("/HEAD"):  # of a clone: the remote's main branch, by its own name
        left = git.attempt(root, "rev-parse", "--abbrev-ref", left).stdout.strip() or left
    place = f"where it left {left}" if left and not asked and shown == commit else ""
    return Revision(shown, commit, _subject(root, commit), place)


def behind(root: Path, base: str) -> Iterator[str]:
    """A note where the base has commits that this branch has not: against its tip they look as if taken back."""
    count = git.attempt(root, "rev-list", "--count", f"HEAD..{git.commit_of(root, base)}").stdout.strip()
    if count not in ("", "0"):
        commits = "1 commit" if count == "1" else f"{count} commits"
        yield (
            f"{base} has {commits} that this branch lacks; what they changed is shown as if this branch took it back."
            " Merge them, or name as the base where the branch left."
        )


def _subject(root: Path, commit: str) -> str:
    return git.attempt(root, "show", "--no-patch", "--format=%s", commit).stdout.strip()
