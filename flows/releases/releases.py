"""The released model is what a GTO tag points at: of `model#production#1`, `#2`, ... the one with the highest number.

Of a project in a subfolder of the repository the tags have that in front: `projects/names=model#production#1`.

GTO makes and reads the tags (`gto show model`, `gto history model` and `dvc artifacts get` understand them), but four
of its ways are unsafe here, and are done otherwise:

- It orders assignments by the seconds of a clock, so that two in one second, or of two hosts, change places. Here
  the number orders them, which two clones can only take once: the remote refuses the second.
- It looks for a free name and takes it later; a lock keeps another `promote` of this clone out in between.
- It pushes tag by tag; here all go in one atomic push.
- It refuses a stage that a version had before; a rollback is just that, so it is told to.

With a git remote `origin` the tags there are the truth: they are fetched first, and replace tags of the same name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from flows.releases.model import COMMIT_FIRST, has_newer, verify
from flows.releases.registry import artifact, assign, assignments, register, versions
from flows.releases.tags import alone, commit_of, published, require_tags

log = logging.getLogger("winnow")


@dataclass(frozen=True)
class Release:
    """A version of the model that was, or is, in production."""

    version: str  # "v1.0.0"
    revision: str  # the full hash of the commit that its tag points at


def released(root: Path) -> Release | None:
    """The release in production, according to the tags of this clone; None where there is none yet.

    Raises as `history` does.
    """
    return next(iter(history(root)), None)


def history(root: Path) -> tuple[Release, ...]:
    """All releases, newest first, according to the tags of this clone; a rollback is an entry of its own.

    Raises ValueError where there is no git repository, and where a shallow clone lacks tags that origin has.
    """
    require_tags(root)
    found = versions(root)
    releases = []
    for name, commit in reversed(assignments(root)):
        if commit in found:
            releases.append(Release(found[commit], commit))
        else:  # by hand, or of a push that was cut off in the remote between the two tags: not released, then
            log.warning("The tag %s points at %s, which is no version of the model: left out.", name, commit[:7])
    return tuple(releases)


def promote(root: Path, revision: str = "HEAD", *, push: bool = True) -> Release:
    """Let production point at `revision`: as the next minor version, or the one that it has already.

    Its model is verified first. With a git remote `origin` both tags are pushed, in one piece; where that fails,
    this call's tags are taken back. `push=False` leaves the remote alone. A call that was killed is completed by
    calling again; a revision that is released already stays as it is.
    Raises ValueError and RuntimeError, a line each, for what `verify` finds and for what git refuses.
    """
    commit = commit_of(root, revision)
    verify(root, commit)
    if has_newer(root, commit):
        log.warning("What is released is the model of %s. %s", commit[:7], COMMIT_FIRST)
    with alone(root), published(root, push):
        release = Release(versions(root).get(commit) or register(root, commit), commit)
        if released(root) != release:
            assign(root, release.version, f"Promote {artifact(root)} {release.version}")
    return release


def rollback(root: Path, *, push: bool = True) -> Release:
    """Let production point at the release before the present one, whose model is verified first.

    The next call goes one further back. To promote an older version again counts as going back to it. Where an
    earlier rollback was killed before it was pushed, that one is completed, and no second step taken.
    Raises ValueError where there is no release before, and else as `promote` does.
    """
    with alone(root), published(root, push) as pending:
        releases = history(root)
        path = _path(releases)
        if pending and len(path) < len(_path(releases[1:])):
            return releases[0]
        if len(path) < 2:
            found = f"{path[0].version} is the first release" if path else "nothing is released yet"
            raise ValueError(f"there is no release to go back to: {found}. Promote another revision instead.")
        verify(root, path[-2].revision)
        assign(root, path[-2].version, f"Roll {artifact(root)} back from {path[-1].version} to {path[-2].version}")
    return path[-2]


def _path(releases: tuple[Release, ...]) -> list[Release]:
    """The releases that led to the newest one, oldest first, without those that were rolled back."""
    path: list[Release] = []
    for release in reversed(releases):
        if release in path:
            del path[path.index(release) + 1 :]
        else:
            path.append(release)
    return path
