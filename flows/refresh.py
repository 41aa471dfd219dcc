"""The newest data, brought into a worktree: a new revision on the Hub, an import's source, files that changed here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from flows import dvc_storage, git
from flows.processes import Children
from stages.params import Params

Log = Callable[[str], object]


def refresh(root: Path, worktree: Path, params: Params, log: Log, children: Children) -> tuple[str, ...]:
    """Bring the data of the clone at `root`, or its source's, into `worktree`. Returns what is new, in words.

    Raises ValueError for data that neither git nor DVC keeps: a proposal with it could be reproduced by nobody.
    """
    if params.ingest.source == "hub" and params.ingest.hub.dataset is not None:
        return tuple(_from_hub(worktree, params))
    path = Path(params.ingest.path)
    if path.is_absolute():
        return ()  # read where it lies; DVC sees whether it changed
    if pointer := _pointer(worktree, path):
        return tuple(_from_dvc(root, worktree, pointer, log, children))
    if git.attempt(worktree, "ls-files", "--error-unmatch", "--", str(path)).returncode != 0:
        raise ValueError(
            f"params.yaml: ingest.path is '{path}', which neither git nor DVC keeps, so nobody could reproduce a "
            f"proposal. Keep it: `dvc add {path}`, then commit."
        )
    return tuple(_from_checkout(root, worktree, path))


def _pointer(worktree: Path, path: Path) -> Path | None:
    """The .dvc file, from the project's folder, whose data `path` is or lies in."""
    for part in (path, *path.parents[:-1]):
        if (worktree / f"{part}.dvc").is_file():
            return Path(f"{part}.dvc")
    return None


def _from_checkout(root: Path, worktree: Path, path: Path) -> Iterator[str]:
    """Files in git: what differs in the clone from the clone's own commit is new."""
    changed = git.attempt(root, "status", "--porcelain", "--untracked-files=all", "--", str(path)).stdout.splitlines()
    if changed and (root / path).exists():
        _copy(root / path, worktree / path)
        yield f"{path}: {len(changed)} {'file' if len(changed) == 1 else 'files'} changed in the clone"


def _from_dvc(root: Path, worktree: Path, pointer: Path, log: Log, children: Children) -> Iterator[str]:
    before = (worktree / pointer).read_bytes()
    data = pointer.with_suffix("")
    if _yaml(worktree / pointer).get("deps"):
        dvc_storage.update(worktree, str(pointer), log, children=children)
        if (worktree / pointer).read_bytes() != before:
            yield f"{data}: its source has other data"
        return
    if git.attempt(root, "status", "--porcelain", "--", str(pointer)).stdout.strip() and (root / pointer).is_file():
        _copy(root / pointer, worktree / pointer)  # `dvc add` was done, and not committed
    if (root / data).exists() and dvc_storage.changed_data(root, str(pointer)):
        _copy(root / data, worktree / data)
        dvc_storage.add(worktree, str(data), log, children=children)
    if (worktree / pointer).read_bytes() != before:
        yield f"{data}: changed in the clone"


def _from_hub(worktree: Path, params: Params) -> Iterator[str]:
    from huggingface_hub import HfApi

    hub = params.ingest.hub
    newest = HfApi().dataset_info(str(hub.dataset), timeout=30).sha
    if newest is None or newest == hub.revision:
        return
    _set_revision(worktree / "params.yaml", newest)
    yield f"{hub.dataset}: {str(hub.revision)[:7]} -> {newest[:7]} on the Hub"


def _set_revision(path: Path, revision: str) -> None:
    """Change one value of params.yaml, and neither comments nor order."""
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000
    editor.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    content = editor.load(path.read_text(encoding="utf-8"))
    content["ingest"]["hub"]["revision"] = revision
    with path.open("w", encoding="utf-8") as file:
        editor.dump(content, file)


def _copy(source: Path, target: Path) -> None:
    """Make `target` what `source` is; what only the target has goes."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=False)
    else:
        shutil.copy2(source, target)


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
