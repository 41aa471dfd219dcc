"""Where the project stands: a file of its own, so that `winnow predict` need not load what runs DVC."""

from __future__ import annotations

from pathlib import Path


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` with a dvc.yaml. Raises FileNotFoundError where none has one."""
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise FileNotFoundError(f"{start}: no dvc.yaml here or above. Run this from inside a Winnow project.")


def own_folder(root: Path) -> Path:
    """Where Winnow keeps what is of this clone alone: git and DVC both ignore it."""
    return root / ".dvc/tmp/winnow"


def worktrees_folder(root: Path) -> Path:
    """Where the worktrees of the clone at `root` are made."""
    return own_folder(root) / "worktrees"


def clone_of(root: Path) -> Path:
    """The clone that `root` is, or is a worktree of."""
    return next((clone for clone in root.parents if worktrees_folder(clone) in root.parents), root)
