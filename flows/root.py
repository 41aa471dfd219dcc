"""Where the project stands: a file of its own, so that `winnow predict` need not load what runs DVC."""

from __future__ import annotations

from pathlib import Path


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` with a dvc.yaml. Raises FileNotFoundError where none has one."""
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise FileNotFoundError(f"{start}: no dvc.yaml here or above. Run this from inside a Winnow project.")
