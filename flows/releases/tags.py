"""The tags of releases here and at origin: fetched, pushed in one piece, and made by one process at a time."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from gto.constants import name_to_tag
from gto.tag import delete_tag

from flows.releases.registry import artifact, assignments, registry
from flows.running import git
from flows.running.locks import one_at_a_time

log = logging.getLogger("winnow")

STALE_SECONDS = 2.0  # git holds the lock of a tag for milliseconds


def _patterns(root: Path) -> tuple[str, str]:
    name = name_to_tag(artifact(root))
    return f"refs/tags/{name}@*", f"refs/tags/{name}#*"


def _common_folder(root: Path) -> Path:
    """The .git folder, which all worktrees share. Raises ValueError where there is none."""
    try:
        return (root / git.read(root, "rev-parse", "--git-common-dir")).resolve()
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{root}: releases are git tags, but there is no git repository: {error}") from None


def commit_of(root: Path, revision: str) -> str:
    _common_folder(root)  # without one no revision can be known
    return git.commit_of(root, revision)


def tags_here(root: Path) -> dict[str, str]:
    """Every GTO tag of the model in this clone, with its hash."""
    found = git.read(root, "for-each-ref", "--format=%(objectname) %(refname)", *_patterns(root))
    return {name: hash_ for hash_, name in map(str.split, found.splitlines())}


def _origin_tags(root: Path) -> dict[str, str]:
    """Every GTO tag of the model at origin, with its hash."""
    try:
        found = git.read(root, "ls-remote", "--refs", "origin", *_patterns(root))
    except RuntimeError as error:
        raise RuntimeError(f"the releases at origin cannot be read: {error}") from None
    return {name: hash_ for hash_, name in map(str.split, found.splitlines())}


def require_tags(root: Path) -> None:
    """Raise ValueError where this is a shallow clone without all release tags: conclusions from them would be wrong."""
    folder = _common_folder(root)
    if not (folder / "shallow").is_file() or not git.has_origin(root):
        return
    if missing := len(_origin_tags(root).items() - tags_here(root).items()):
        refs = " ".join(f"'{pattern}:{pattern}'" for pattern in _patterns(root))
        raise ValueError(
            f"{root}: a shallow clone, without {missing} of the release tags at origin, so what is released cannot "
            f"be told. Get them: git fetch origin {refs}"
        )


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keep other releases of this clone, worktrees included, out; remove the stale tag locks of a killed one."""
    folder = _common_folder(root)
    with one_at_a_time(folder / "winnow-releases.lock", lambda who: log.info("Waiting for a release by %s", who)):
        for left in (folder / "refs/tags").glob(f"{name_to_tag(artifact(root))}[@#]*.lock"):
            with contextlib.suppress(FileNotFoundError):
                time.sleep(min(max(0.0, left.stat().st_mtime + STALE_SECONDS - time.time()), STALE_SECONDS))
                left.unlink()
        yield


@contextlib.contextmanager
def published(root: Path, push: bool) -> Iterator[bool]:
    """Fetch origin's tags; at the end push all that origin lacks, or delete those made inside if that fails.

    Gives whether the newest assignment is missing at origin, because the call that made it was killed.
    """
    remote = push and git.has_origin(root)
    theirs = receive(root) if remote else {}
    before = tags_here(root)
    newest = [f"refs/tags/{name}" for name, _ in assignments(root)[-1:]]
    try:
        yield remote and not theirs.keys() >= set(newest)
        if remote:
            _send(root, theirs)
    except BaseException:  # an interrupt during the push leaves no half of a release behind either
        with registry(root) as scm:
            for name in sorted(tags_here(root).keys() - before.keys()):  # "#" before "@": the pointer goes first
                delete_tag(scm, name.removeprefix("refs/tags/"))
        raise


def receive(root: Path) -> dict[str, str]:
    """Fetch origin's release tags where this clone lacks some. Returns the tags at origin."""
    theirs, ours = _origin_tags(root), tags_here(root)
    if theirs.items() <= ours.items():
        return theirs
    if replaced := sorted(name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name]):
        log.warning("Replaced by origin's: %s. A release here was never pushed.", ", ".join(replaced))
    refs = [f"+{pattern}:{pattern}" for pattern in _patterns(root)]
    try:
        # Where fetch.prune is set, git would remove the tags that are not pushed yet.
        git.read(root, "fetch", "--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "origin", *refs)
    except RuntimeError as error:
        raise RuntimeError(f"the release tags of origin cannot be fetched: {error}") from None
    return theirs


def _send(root: Path, theirs: dict[str, str]) -> None:
    """Push every release tag that origin lacks: all or none."""
    missing = sorted(tags_here(root).keys() - theirs.keys())
    if not missing:
        return
    try:
        refs = [f"{name}:{name}" for name in missing]
        git.read(root, "push", "--quiet", "--atomic", "--no-follow-tags", "origin", *refs)
    except RuntimeError as error:
        raise RuntimeError(
            f"nothing is released: origin refused the tags, or could not be reached: {error}. "
            "The tags made here are removed again. Put that right, then call again."
        ) from None
