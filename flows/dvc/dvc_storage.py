"""DVC's cache and remotes: what is in them, whether it can be trusted, and how it gets there."""

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
    """The same where this clone has it; None where a remote must be asked."""
    for candidate in (cached(cache_folder(root), digest), root / path):
        if candidate.is_file() and md5(candidate) == digest:
            return candidate.read_bytes()
    return None


def get(root: Path, path: str, target: Path, *, revision: str | None) -> None:
    """Put the out `path` of `revision` (None: the working tree) at `target`, from DVC's cache or the default remote.

    No checkout is needed. Raises DvcError with DVC's words where nobody has it.
    """
    at = ["--rev", revision] if revision else []
    read(root, "get", *at, "--out", str(target), "--", ".", path)


@functools.lru_cache(maxsize=8)
def cache_folder(root: Path) -> Path:
    """Where DVC's cache of the project at `root` is."""
    return Path(read(root, "cache", "dir").strip())


def md5(path: Path) -> str:
    """Of a file's bytes, by which DVC names its objects."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(folder: Path) -> str:
    """Of the list of a folder's files and their hashes, as DVC makes it, but for its ".dir"; not of Python's caches."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    listing = json.dumps([{"md5": md5(path), "relpath": name} for name, path in files])
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()


def cached(cache: Path, digest: str) -> Path:
    """Where the object with that digest is in DVC's cache, if it is."""
    return cache / "files/md5" / digest[:2] / digest[2:]


def shared_configuration(root: Path) -> str:
    """What a worktree's .dvc/config.local needs to use the cache and the remotes of the clone at `root`."""
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
    """Whether `dvc push` knows where to: a default remote is set."""
    return any(line.startswith("core.remote=") for line in read(root, "config", "--list").splitlines())


def push(root: Path, on_line: Callable[[str], object], *, children: Children) -> None:
    """Send every out of dvc.lock, and the run cache, to the default remote."""
    stream(root, ["push", "--run-cache"], on_line, children)


def pull(root: Path, targets: Sequence[str], on_line: Callable[[str], object], *, children: Children) -> None:
    """Get `targets` from DVC's cache, or else from the default remote."""
    stream(root, ["pull", "--force", "--", *targets], on_line, children)


def update(root: Path, target: str, on_line: Callable[[str], object], *, children: Children) -> None:
    """Bring the import of the .dvc file `target` to its source's present state."""
    stream(root, ["update", "--", target], on_line, children)


def add(root: Path, path: str, on_line: Callable[[str], object], *, children: Children) -> None:
    """Take the data at `path` as it is now into DVC's cache, and its hash into its .dvc file."""
    stream(root, ["add", "--", path], on_line, children)


def changed_data(root: Path, target: str) -> bool:
    """Whether the data of the .dvc file `target` is not what that file says."""
    changes = json.loads(read(root, "--wait-for-lock", "status", "--json", "--", target)).get(target, [])
    outs = [change.get("changed outs", {}) for change in changes if isinstance(change, dict)]
    return any("modified" in states.values() for states in outs)


@dataclass(frozen=True)
class Altered:
    """An object of DVC's cache whose bytes are not those that its name promises, and the out that it is of."""

    stage: str
    out: str
    file: str
    cached: Path


def altered(root: Path) -> tuple[Altered, ...]:
    """The objects in the cache behind dvc.lock's outs that were altered since they were written: all are rehashed.

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
    """Remove altered objects, and the outs made of them, so that their stages make them again."""
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
