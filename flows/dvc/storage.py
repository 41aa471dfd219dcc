"""DVC's cache and remotes: reading objects, checking their hashes, and moving them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configobj import ConfigObj

from flows.dvc.command import read
from flows.dvc.locked import lock_of
from flows.dvc.reproducing import stream
from flows.running import git
from flows.running.processes import Children

log = logging.getLogger("winnow")


def content(root: Path, path: str, digest: str, *, revision: str | None) -> bytes:
    """The bytes of the out `path` of one file, as dvc.lock has it at `revision` (None: the working tree).

    From DVC's cache, where its hash is checked, or from the working tree; else by `dvc get`, from the cache of
    this clone or the default remote. Raises DvcError with DVC's words where nobody has it.
    """
    if (found := at_hand(root, path, digest)) is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        target = Path(folder, "out")
        get(root, path, target, revision=revision)
        return target.read_bytes()


def at_hand(root: Path, path: str, digest: str) -> bytes | None:
    """The bytes as `content` gives them where this clone has them; None where a remote must be asked."""
    for candidate in (cached(cache_folder(root), digest), root / path):
        if candidate.is_file() and md5(candidate) == digest:
            return candidate.read_bytes()
    return None


def folder_content(root: Path, path: str, digest: str, *, revision: str | None) -> dict[str, bytes]:
    """The files of the out `path`, a folder, by their names in it. See `content`."""
    if (found := folder_at_hand(root, path, digest)) is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        target = Path(folder, "out")
        get(root, path, target, revision=revision)
        return _files_in(target)


def folder_at_hand(root: Path, path: str, digest: str) -> dict[str, bytes] | None:
    """The files as `folder_content` gives them where this clone has them; None where a remote must be asked."""
    listing = cached(cache_folder(root), digest)
    if listing.is_file() and md5(listing) == digest.removesuffix(".dir"):
        names = {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_bytes())}
        found = {name: at_hand(root, f"{path}/{name}", own) for name, own in names.items()}
        known = {name: content for name, content in found.items() if content is not None}
        return known if len(known) == len(names) else None
    whole = (root / path).is_dir() and folder_md5(root / path) == digest.removesuffix(".dir")
    return _files_in(root / path) if whole else None


def _files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def get(root: Path, path: str, target: Path, *, revision: str | None) -> None:
    """Put the out `path` of `revision` (None: the working tree) at `target`, from DVC's cache or the default remote.

    No checkout is needed. Raises DvcError with DVC's words where nobody has it.
    """
    at = ["--rev", revision] if revision else []
    prefix = git.prefix(root)  # DVC looks at revisions from git's top folder
    top = "../" * prefix.count("/") or "."
    read(root, "get", *at, "--out", str(target), "--", top, f"{prefix}{path}")


@functools.lru_cache(maxsize=8)
def cache_folder(root: Path) -> Path:
    """The folder of DVC's cache for the project at `root`."""
    return Path(read(root, "cache", "dir").strip())


def md5(path: Path) -> str:
    """The MD5 of a file's bytes, by which DVC names its objects."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(folder: Path) -> str:
    """The MD5 of DVC's listing of a folder (its files and their hashes), without the ending ".dir".

    Python's caches are left out.
    """
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    listing = json.dumps([{"md5": md5(path), "relpath": name} for name, path in files])
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()


def cached(cache: Path, digest: str) -> Path:
    """The path of the object with that digest in DVC's cache, whether or not it is there."""
    return cache / "files/md5" / digest[:2] / digest[2:]


def shared_configuration(root: Path) -> str:
    """The text of .dvc/config.local with which a worktree uses the cache and the remotes of the clone at `root`."""
    local = read(root, "config", "--list", "--local").splitlines()
    # DVC shows paths as absolute ones, so that they hold in another folder too.
    remotes = [line for line in read(root, "config", "--list").splitlines() if line.startswith("remote.")]
    options = dict(line.split("=", 1) for line in [*local, *remotes]) | {"cache.dir": str(cache_folder(root))}
    written = ConfigObj(interpolation=False)  # as DVC writes it: what needs quotes gets them
    for key, value in options.items():
        section, _, option = key.rpartition(".")
        written.setdefault(_section(section), {})[option] = value
    return "".join(f"{line}\n" for line in written.write())


def _section(name: str) -> str:
    kind, _, label = name.partition(".")
    return f'{kind} "{label}"' if label else kind


def has_remote(root: Path) -> bool:
    """Whether a default remote is set, which `dvc push` needs."""
    return any(line.startswith("core.remote=") for line in read(root, "config", "--list").splitlines())


def push(root: Path, on_line: Callable[[str], object], *, children: Children) -> None:
    """Send every out of dvc.lock, and the run cache, to the default remote."""
    stream(root, ["push", "--run-cache"], on_line, children)


def pull(root: Path, targets: Sequence[str], on_line: Callable[[str], object], *, children: Children) -> None:
    """Get `targets` from DVC's cache, or else from the default remote."""
    stream(root, ["pull", "--force", "--", *targets], on_line, children)


def update(root: Path, target: str, on_line: Callable[[str], object], *, children: Children) -> None:
    """Update the import of the .dvc file `target` to the present state of its source."""
    stream(root, ["update", "--", target], on_line, children)


def add(root: Path, path: str, on_line: Callable[[str], object], *, children: Children) -> None:
    """Add the present data at `path` to DVC's cache, and its hash to its .dvc file."""
    stream(root, ["add", "--", path], on_line, children)


def changed_data(root: Path, target: str) -> bool:
    """Whether the data of the .dvc file `target` differs from the hash in that file."""
    changes = json.loads(read(root, "--wait-for-lock", "status", "--json", "--", target)).get(target, [])
    outs = [change.get("changed outs", {}) for change in changes if isinstance(change, dict)]
    return any("modified" in states.values() for states in outs)


@dataclass(frozen=True)
class Altered:
    """An object of DVC's cache whose bytes do not have the hash in its name, and the out that it belongs to."""

    stage: str
    out: str
    file: str
    cached: Path


def altered(root: Path) -> tuple[Altered, ...]:
    """The altered objects among those that dvc.lock's outs have in the cache; all of them are rehashed.

    DVC itself trusts a read-only object. Objects that are not in this clone's cache are not looked for.
    """
    cache = cache_folder(root)
    return tuple(
        Altered(stage, out["path"], name, found)
        for stage, entry in (lock_of(root).get("stages") or {}).items()
        for out in entry.get("outs", [])
        for name, digest in _files(cache, out)
        if (found := cached(cache, digest)).is_file() and md5(found) != digest.removesuffix(".dir")
    )


def _files(cache: Path, out: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each file of an out with its digest; a folder's listing is one too."""
    digest = out["md5"]
    yield out["path"], digest
    listing = cached(cache, digest)
    if digest.endswith(".dir") and listing.is_file():
        with contextlib.suppress(ValueError):  # then the listing itself was altered
            for entry in json.loads(listing.read_bytes()):
                yield f"{out['path']}/{entry['relpath']}", entry["md5"]


def discard(root: Path, found: Iterable[Altered]) -> None:
    """Remove altered objects, and the outs made of them, so that their stages run again."""
    for item in found:
        log.warning("%s was altered in DVC's cache. It is removed, to be made again by %s.", item.file, item.stage)
        remove(item.cached)
        remove(root / item.out)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
