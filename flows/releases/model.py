"""The model that a commit releases, and the check of its bytes against the hashes in its dvc.lock."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from flows.dvc import storage
from flows.dvc.command import DvcError
from flows.dvc.locked import lock_of
from flows.releases.tags import commit_of
from flows.running import git
from stages.core import model_folder
from stages.core.paths import MODELS, Paths
from stages.core.yaml_text import parse

COMMIT_FIRST = (
    "dvc.lock here has another model, which is not committed: to release that one, "
    "`git add params.yaml dvc.lock metrics`, `git commit`, and promote then."
)


@dataclass(frozen=True)
class Model:
    """The model folder of a commit, as its dvc.lock has it."""

    commit: str
    folder: str  # "artifacts/models/quantized"
    md5: str  # of DVC's list of its files

    def __str__(self) -> str:
        return f"{self.folder} of {self.commit[:7]}"


def verify(root: Path, revision: str) -> None:
    """Rehash the model folder that `revision` would release, and check it against its manifest.

    The bytes are those in DVC's cache, which DVC itself trusts unread; missing files are fetched from the default
    remote into a temporary folder. Raises ValueError where a file differs from dvc.lock, or there is no such model, and
    RuntimeError where a file is available nowhere.
    """
    model = _model(root, commit_of(root, revision))
    with tempfile.TemporaryDirectory(prefix="winnow-") as temporary:
        folder = Path(temporary) / "model"
        if not _link_cached(storage.cache_folder(root), model, folder):
            folder = Path(temporary) / "fetched"
            _fetch(root, model, folder)
        _check_manifest(model, folder)


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


def _model(root: Path, commit: str) -> Model:
    """The model folder that `commit` releases. Raises ValueError where its dvc.lock has none."""
    name = model_of(_yaml_at(root, commit, "params.yaml"), commit)
    folder = Paths(root).model(name).relative_to(root).as_posix()
    if md5 := _hash_of(folder, _yaml_at(root, commit, "dvc.lock")):
        return Model(commit, folder, md5)
    raise ValueError(
        f"dvc.lock of {commit[:7]} has no folder {folder}, so there is nothing to release. "
        "Run `dvc repro`, commit dvc.lock, and promote that commit."
    )


def _hash_of(folder: str, lock: dict[str, Any]) -> str | None:
    """The hash of the folder in a dvc.lock; None where it has none."""
    for stage in (lock.get("stages") or {}).values():
        for out in stage.get("outs", []):
            md5 = str(out.get("md5"))
            if out.get("path") == folder and re.fullmatch(r"[0-9a-f]{32}\.dir", md5):
                return md5
    return None


def has_newer(root: Path, commit: str) -> bool:
    """Whether `commit` is checked out and the working tree's dvc.lock has another, uncommitted model."""
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


def _link_cached(cache: Path, model: Model, folder: Path) -> bool:
    """Link the model's files in DVC's cache into `folder`, each rehashed. Returns False where one is missing there.

    Raises ValueError for the first file that was altered.
    """
    listing = storage.cached(cache, model.md5)
    if not listing.is_file():
        return False
    _require_hash(listing, model.md5.removesuffix(".dir"), f"the list of files of {model}")
    complete = True
    for entry in json.loads(listing.read_text(encoding="utf-8")):
        name, md5 = entry["relpath"], entry["md5"]
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{model}: its list has the file '{name}', outside the folder. Do not use this commit.")
        content = storage.cached(cache, md5).absolute()
        if content.is_file():
            _require_hash(content, md5, f"{model.folder}/{name} of {model.commit[:7]}")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(content)
        else:
            complete = False
    return complete


def _require_hash(path: Path, md5: str, what: str) -> None:
    if storage.md5(path) != md5:
        raise ValueError(
            f"{what} is not what dvc.lock says: its bytes changed. It is not released. "
            f"Delete {path}; then `dvc fetch`, or `dvc repro`, gets it again."
        )


def _fetch(root: Path, model: Model, folder: Path) -> None:
    """Get the model folder of any commit by `dvc get`, from cache or default remote, without a checkout; rehash it."""
    try:
        storage.get(root, model.folder, folder, revision=model.commit)
    except DvcError as error:
        said = str(error).removeprefix("dvc get: ").partition(" Having any troubles?")[0]
        advice = "Run `dvc push` where it was made, or `dvc repro` here."
        raise RuntimeError(
            f"{model} is not in DVC's cache, and the DVC remote does not give it: {said}. "
            f"{COMMIT_FIRST if has_newer(root, model.commit) else advice}"
        ) from None
    if storage.folder_md5(folder) != model.md5.removesuffix(".dir"):  # DVC's own list need not be here
        _check_manifest(model, folder)  # which names the file, where it can
        raise ValueError(
            f"{model}, as the DVC remote has it, is not what dvc.lock says: its bytes changed. It is not released. "
            "Run `dvc push` where the right one is, after deleting the remote's."
        )


def _check_manifest(model: Model, folder: Path) -> None:
    """Check the folder against its manifest, as `winnow predict` does; this finds changes made before DVC hashed it."""
    try:
        model_folder.verify(folder)
    except (ValueError, OSError) as error:
        raise ValueError(str(error).replace(str(folder), str(model))) from None
