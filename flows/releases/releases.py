"""The released model is what a GTO tag points at: of `model#production#1`, `#2`, ... the one with the highest number.

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

import contextlib
import json
import logging
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gto import api
from gto.constants import Action
from gto.exceptions import GTOException
from gto.tag import delete_tag, find, parse_name
from scmrepo.exceptions import SCMError
from scmrepo.git import Git

from flows.dvc import dvc_storage
from flows.dvc.command import DvcError
from flows.dvc.locked import lock_of
from flows.running import git
from flows.running.locks import one_at_a_time
from stages.core import model_folder
from stages.core.paths import MODELS, Paths
from stages.core.yaml_text import parse

log = logging.getLogger("winnow")

ARTIFACT, STAGE = "model", "production"
FIRST_VERSION = "v1.0.0"
STALE_SECONDS = 2.0  # git holds the lock of a tag for milliseconds

COMMIT_FIRST = (
    "dvc.lock here has another model, which is not committed: to release that one, "
    "`git add params.yaml dvc.lock metrics`, `git commit`, and promote then."
)

_PATTERNS = (f"refs/tags/{ARTIFACT}@*", f"refs/tags/{ARTIFACT}#*")


@dataclass(frozen=True)
class Release:
    """A version of the model that was, or is, in production."""

    version: str  # "v1.0.0"
    revision: str  # the full hash of the commit that its tag points at


@dataclass(frozen=True)
class _Model:
    """The model folder of a commit, as its dvc.lock has it."""

    commit: str
    folder: str  # "artifacts/models/quantized"
    md5: str  # of DVC's list of its files

    def __str__(self) -> str:
        return f"{self.folder} of {self.commit[:7]}"


def released(root: Path) -> Release | None:
    """What production points at, by the tags of this clone; None where nothing was ever released.

    Raises as `history` does.
    """
    return next(iter(history(root)), None)


def history(root: Path) -> tuple[Release, ...]:
    """What production pointed at, newest first, by the tags of this clone; a rollback is an entry of its own.

    Raises ValueError where there is no git repository, and where a shallow clone lacks tags that origin has.
    """
    _require_tags(root)
    versions = _versions(root)
    releases = []
    for name, commit in reversed(_assignments(root)):
        if commit in versions:
            releases.append(Release(versions[commit], commit))
        else:  # by hand, or of a push that was cut off in the remote between the two tags: not released, then
            log.warning("The tag %s points at %s, which is no version of the model: left out.", name, commit[:7])
    return tuple(releases)


def verify(root: Path, revision: str) -> None:
    """Rehash the model folder that `revision` would release, and check it against its manifest.

    The bytes are those in DVC's cache, which DVC itself trusts unread; what is missing there comes from the default
    remote, into a temporary folder. Raises ValueError where a file is not what dvc.lock says, or there is no such
    model, and RuntimeError where nobody has a file.
    """
    model = _model(root, _commit(root, revision))
    with tempfile.TemporaryDirectory(prefix="winnow-") as temporary:
        folder = Path(temporary) / "model"
        if not _link_cached(dvc_storage.cache_folder(root), model, folder):
            folder = Path(temporary) / "fetched"
            _fetch(root, model, folder)
        _check_manifest(model, folder)


def promote(root: Path, revision: str = "HEAD", *, push: bool = True) -> Release:
    """Let production point at `revision`: as the next minor version, or the one that it has already.

    Its model is verified first. With a git remote `origin` both tags are pushed, in one piece; where that fails,
    this call's tags are taken back. `push=False` leaves the remote alone. A call that was killed is completed by
    calling again; a revision that is released already stays as it is.
    Raises ValueError and RuntimeError, a line each, for what `verify` finds and for what git refuses.
    """
    commit = _commit(root, revision)
    verify(root, commit)
    if _has_newer(root, commit):
        log.warning("What is released is the model of %s. %s", commit[:7], COMMIT_FIRST)
    with _alone(root), _published(root, push):
        release = Release(_versions(root).get(commit) or _register(root, commit), commit)
        if released(root) != release:
            _assign(root, release.version, f"Promote {ARTIFACT} {release.version}")
    return release


def rollback(root: Path, *, push: bool = True) -> Release:
    """Let production point at the release before the present one, whose model is verified first.

    The next call goes one further back. To promote an older version again counts as going back to it. Where an
    earlier rollback was killed before it was pushed, that one is completed, and no second step taken.
    Raises ValueError where there is no release before, and else as `promote` does.
    """
    with _alone(root), _published(root, push) as pending:
        releases = history(root)
        path = _path(releases)
        if pending and len(path) < len(_path(releases[1:])):
            return releases[0]
        if len(path) < 2:
            found = f"{path[0].version} is the first release" if path else "nothing is released yet"
            raise ValueError(f"there is no release to go back to: {found}. Promote another revision instead.")
        verify(root, path[-2].revision)
        _assign(root, path[-2].version, f"Roll {ARTIFACT} back from {path[-1].version} to {path[-2].version}")
    return path[-2]


def _path(releases: tuple[Release, ...]) -> list[Release]:
    """The releases that led to the newest one, oldest first: what was rolled back is left out."""
    path: list[Release] = []
    for release in reversed(releases):
        if release in path:
            del path[path.index(release) + 1 :]
        else:
            path.append(release)
    return path


# --- the tags, by GTO ---


@contextlib.contextmanager
def _registry(root: Path) -> Iterator[Git]:
    """The repository, as GTO wants it. What GTO raises inside comes out as a RuntimeError."""
    scm = Git(str(root))
    try:
        yield scm
    except (GTOException, SCMError) as error:
        raise RuntimeError(f"GTO: {' '.join(str(error).split())}") from error
    finally:
        scm.close()


def _versions(root: Path) -> dict[str, str]:
    """Commit -> version."""
    with _registry(root) as scm:
        return {tag.target: parse_name(tag.name)["version"] for tag in find(Action.REGISTER, ARTIFACT, scm=scm)}


def _assignments(root: Path) -> list[tuple[str, str]]:
    """(tag, commit) of what was put into production, and not taken out by hand (`gto deprecate`); oldest first."""
    with _registry(root) as scm:
        tags = [(parse_name(tag.name), tag) for tag in find(name=ARTIFACT, stage=STAGE, scm=scm)]
    found: list[tuple[str, str]] = []
    for parsed, tag in sorted(tags, key=lambda pair: pair[0].get("counter", 0)):
        if parsed["action"] is Action.ASSIGN:
            found.append((tag.name, tag.target))
        else:
            found = [(name, commit) for name, commit in found if commit != tag.target]
    return found


def _register(root: Path, commit: str) -> str:
    bump: dict[str, Any] = {"bump_minor": True} if _versions(root) else {"version": FIRST_VERSION}
    name, email = git.user(root)  # GTO's libraries look elsewhere, and may make some up
    with _registry(root) as scm:
        return api.register(scm, ARTIFACT, commit, author=name, author_email=email, **bump).version


def _assign(root: Path, version: str, message: str) -> None:
    name, email = git.user(root)  # GTO's libraries look elsewhere, and may make some up
    with _registry(root) as scm:
        newest = max((tag.tag_time for tag in find(name=ARTIFACT, stage=STAGE, scm=scm)), default=0)
        _wait_for_second_after(newest)
        api.assign(scm, ARTIFACT, STAGE, version=version, message=message, force=True, author=name, author_email=email)


def _wait_for_second_after(moment: int) -> None:
    """GTO and DVC go by the seconds of the tags: the next one must be later, so that they say what is said here."""
    ahead = moment + 1 - time.time()
    if ahead > 1:
        log.warning(
            "The newest release tag is dated %.0f seconds ahead of this clock. Until then `dvc artifacts get --stage` "
            "and `gto show` give that one. Set the clock of the host that is wrong.",
            ahead,
        )
    else:
        time.sleep(max(0.0, ahead))


# --- git ---


def _common_folder(root: Path) -> Path:
    """The .git folder, which all worktrees share. Raises ValueError where there is none."""
    try:
        return (root / git.read(root, "rev-parse", "--git-common-dir")).resolve()
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{root}: releases are git tags, but there is no git repository: {error}") from None


def _commit(root: Path, revision: str) -> str:
    _common_folder(root)  # without one no revision can be known
    return git.commit_of(root, revision)


def _tags(root: Path) -> dict[str, str]:
    """Every GTO tag of the model in this clone, with its hash."""
    found = git.read(root, "for-each-ref", "--format=%(objectname) %(refname)", *_PATTERNS)
    return {name: hash_ for hash_, name in map(str.split, found.splitlines())}


def _origin_tags(root: Path) -> dict[str, str]:
    """Every GTO tag of the model at origin, with its hash."""
    try:
        found = git.read(root, "ls-remote", "--refs", "origin", *_PATTERNS)
    except RuntimeError as error:
        raise RuntimeError(f"the releases at origin cannot be read: {error}") from None
    return {name: hash_ for hash_, name in map(str.split, found.splitlines())}


def _require_tags(root: Path) -> None:
    """Raise ValueError where this is a shallow clone without all release tags: what they say would be wrong."""
    folder = _common_folder(root)
    if not (folder / "shallow").is_file() or not git.has_origin(root):
        return
    if missing := len(_origin_tags(root).items() - _tags(root).items()):
        refs = " ".join(f"'{pattern}:{pattern}'" for pattern in _PATTERNS)
        raise ValueError(
            f"{root}: a shallow clone, without {missing} of the release tags at origin, so what is released cannot "
            f"be told. Get them: git fetch origin {refs}"
        )


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keep other releases of this clone, worktrees included, out; what a killed one left locked is opened."""
    folder = _common_folder(root)
    with one_at_a_time(folder / "winnow-releases.lock", lambda who: log.info("Waiting for a release by %s", who)):
        for left in (folder / "refs/tags").glob(f"{ARTIFACT}[@#]*.lock"):
            with contextlib.suppress(FileNotFoundError):
                time.sleep(min(max(0.0, left.stat().st_mtime + STALE_SECONDS - time.time()), STALE_SECONDS))
                left.unlink()
        yield


@contextlib.contextmanager
def _published(root: Path, push: bool) -> Iterator[bool]:
    """Origin's tags are fetched; those made inside are pushed, with what origin lacks, or taken back if that fails.

    Gives whether the newest assignment is one that origin lacks: a killed call made it.
    """
    remote = push and git.has_origin(root)
    theirs = receive(root) if remote else {}
    before = _tags(root)
    newest = [f"refs/tags/{name}" for name, _ in _assignments(root)[-1:]]
    try:
        yield remote and not theirs.keys() >= set(newest)
        if remote:
            _send(root, theirs)
    except BaseException:  # an interrupt during the push leaves no half of a release behind either
        with _registry(root) as scm:
            for name in sorted(_tags(root).keys() - before.keys()):  # "#" before "@": the pointer goes first
                delete_tag(scm, name.removeprefix("refs/tags/"))
        raise


def receive(root: Path) -> dict[str, str]:
    """Fetch origin's release tags, where this clone has not got them all. Gives those of origin."""
    theirs, ours = _origin_tags(root), _tags(root)
    if theirs.items() <= ours.items():
        return theirs
    if replaced := sorted(name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name]):
        log.warning("Replaced by origin's: %s. A release here was never pushed.", ", ".join(replaced))
    refs = [f"+{pattern}:{pattern}" for pattern in _PATTERNS]
    try:
        # Where fetch.prune is set, git would remove the tags that are not pushed yet.
        git.read(root, "fetch", "--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "origin", *refs)
    except RuntimeError as error:
        raise RuntimeError(f"the release tags of origin cannot be fetched: {error}") from None
    return theirs


def _send(root: Path, theirs: dict[str, str]) -> None:
    """Push every release tag that origin lacks: all or none."""
    missing = sorted(_tags(root).keys() - theirs.keys())
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


# --- the model's bytes ---


def model_of(params: Mapping[str, Any], commit: str) -> str:
    """The model that a commit with these parameters releases. Raises ValueError where they name none of the models."""
    section = params.get("promotion")
    name = section.get("model") if isinstance(section, dict) else None
    if name not in MODELS:
        raise ValueError(
            f"params.yaml of {commit[:7]}: promotion.model is {name!r}. Allowed: {', '.join(MODELS)}. "
            "Correct it and commit."
        )
    return str(name)


def _model(root: Path, commit: str) -> _Model:
    """The model folder that `commit` releases. Raises ValueError where its dvc.lock has none."""
    name = model_of(_yaml_at(root, commit, "params.yaml"), commit)
    folder = Paths(root).model(name).relative_to(root).as_posix()
    if md5 := _hash_of(folder, _yaml_at(root, commit, "dvc.lock")):
        return _Model(commit, folder, md5)
    raise ValueError(
        f"dvc.lock of {commit[:7]} has no folder {folder}, so there is nothing to release. "
        "Run `dvc repro`, commit dvc.lock, and promote that commit."
    )


def _hash_of(folder: str, lock: dict[str, Any]) -> str | None:
    """What a dvc.lock says of the folder; None where it says nothing."""
    for stage in (lock.get("stages") or {}).values():
        for out in stage.get("outs", []):
            md5 = str(out.get("md5"))
            if out.get("path") == folder and re.fullmatch(r"[0-9a-f]{32}\.dir", md5):
                return md5
    return None


def _has_newer(root: Path, commit: str) -> bool:
    """Whether `commit` is what is checked out, and dvc.lock there has another model that was not committed."""
    if commit != git.commit_of(root, "HEAD"):
        return False
    model = _model(root, commit)
    try:
        here = _hash_of(model.folder, lock_of(root))
    except DvcError:  # a merge conflict, say: what is committed can be released all the same
        return False
    return here is not None and here != model.md5


def _yaml_at(root: Path, commit: str, name: str) -> dict[str, Any]:
    try:
        content = git.read(root, "show", f"{commit}:./{name}")
    except RuntimeError:
        raise ValueError(
            f"{commit[:7]} has no {name}, so there is nothing to release. "
            f"Run `dvc repro`, commit {name}, and promote that commit."
        ) from None
    found = parse(content, f"{name} of {commit[:7]}")
    return found if isinstance(found, dict) else {}


def _link_cached(cache: Path, model: _Model, folder: Path) -> bool:
    """Links to the model's files in DVC's cache, each rehashed; False where one is missing there.

    Raises ValueError for the first that was altered.
    """
    listing = dvc_storage.cached(cache, model.md5)
    if not listing.is_file():
        return False
    _require_hash(listing, model.md5.removesuffix(".dir"), f"the list of files of {model}")
    complete = True
    for entry in json.loads(listing.read_text(encoding="utf-8")):
        name, md5 = entry["relpath"], entry["md5"]
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{model}: its list has the file '{name}', outside the folder. Do not use this commit.")
        content = dvc_storage.cached(cache, md5).absolute()
        if content.is_file():
            _require_hash(content, md5, f"{model.folder}/{name} of {model.commit[:7]}")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(content)
        else:
            complete = False
    return complete


def _require_hash(path: Path, md5: str, what: str) -> None:
    if dvc_storage.md5(path) != md5:
        raise ValueError(
            f"{what} is not what dvc.lock says: its bytes changed. It is not released. "
            f"Delete {path}; then `dvc fetch`, or `dvc repro`, gets it again."
        )


def _fetch(root: Path, model: _Model, folder: Path) -> None:
    """The model folder by `dvc get`, of any commit: from cache and default remote, without a checkout; rehashed."""
    try:
        dvc_storage.get(root, model.folder, folder, revision=model.commit)
    except DvcError as error:
        said = str(error).removeprefix("dvc get: ").partition(" Having any troubles?")[0]
        advice = "Run `dvc push` where it was made, or `dvc repro` here."
        raise RuntimeError(
            f"{model} is not in DVC's cache, and the DVC remote does not give it: {said}. "
            f"{COMMIT_FIRST if _has_newer(root, model.commit) else advice}"
        ) from None
    if dvc_storage.folder_md5(folder) != model.md5.removesuffix(".dir"):  # DVC's own list need not be here
        _check_manifest(model, folder)  # which names the file, where it can
        raise ValueError(
            f"{model}, as the DVC remote has it, is not what dvc.lock says: its bytes changed. It is not released. "
            "Run `dvc push` where the right one is, after deleting the remote's."
        )


def _check_manifest(model: _Model, folder: Path) -> None:
    """What `winnow predict` checks too; it finds what was altered before DVC hashed it."""
    try:
        model_folder.verify(folder)
    except (ValueError, OSError) as error:
        raise ValueError(str(error).replace(str(folder), str(model))) from None
