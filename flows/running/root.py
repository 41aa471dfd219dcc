"""The project's folder: a file of its own, so that `winnow predict` need not load the modules that run DVC."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

# No parameter of the flow `retrain`: whoever may start a run could point it at any folder of this machine.
_clone: ContextVar[Path | None] = ContextVar("clone", default=None)


@contextlib.contextmanager
def retraining_in(root: Path) -> Iterator[None]:
    """Make the retrainings inside work on the clone at `root`; others work on the one of their process."""
    token = _clone.set(root)
    try:
        yield
    finally:
        _clone.reset(token)


def here() -> Path:
    """The clone that a retraining works on. Raises FileNotFoundError where there is none."""
    return _clone.get() or find_root(Path.cwd())


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` with a dvc.yaml. Raises FileNotFoundError where none has one."""
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"{start}: no dvc.yaml here or above. Run this from inside a Winnow project, or start one: "
        "`winnow init FOLDER --data FILE`."
    )


def own_folder(root: Path) -> Path:
    """The folder of Winnow's files for this clone alone; git and DVC both ignore it."""
    return root / ".dvc/tmp/winnow"


def worktrees_folder(root: Path) -> Path:
    """Where the worktrees of the clone at `root` are made."""
    return own_folder(root) / "worktrees"


def clone_of(root: Path) -> Path:
    """The clone that `root` is, or is a worktree of."""
    return next((clone for clone in root.parents if worktrees_folder(clone) in root.parents), root)
