"""Whether the table of models belongs to the present parameters and code, according to dvc.lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.dvc import differences, storage
from flows.dvc.locked import locked_stages, upstream
from flows.running.code import LINK

TABLE = ("metrics/quality/", "metrics/profile/")  # what the table is read from


def notice(root: Path) -> str | None:
    """One line where the table's stages ran with other parameters or other code than the present ones; else None."""
    remedy = "`winnow plan` says what would run, `winnow reproduce` or `dvc repro` brings them up to date."
    return differences.notice(
        _changes(root), "these figures were measured", "these figures are of what is here", remedy
    )


def _changes(root: Path) -> Iterator[str]:
    """The differences from dvc.lock: "finetune.epochs: 3 -> 4", "stages/quantize.py changed"; parameters first."""
    stages = list(upstream(locked_stages(root), TABLE).values())
    for stage in stages:
        yield from differences.changed_parameters(root, stage)
    for stage in stages:
        yield from changed_code(root, stage)


def changed_code(root: Path, stage: Mapping[str, Any]) -> Iterator[str]:
    """The code files and folders that have changed since a stage of dvc.lock ran."""
    for dep in (dep for dep in stage.get("deps") or [] if is_code(dep["path"])):
        path = root / dep["path"]
        if not path.exists():
            yield f"{dep['path']} is missing"
        elif dep.get("md5") != (f"{storage.folder_md5(path)}.dir" if path.is_dir() else storage.md5(path)):
            yield f"{dep['path']} changed"


def is_code(path: str) -> bool:
    """Whether a dependency is a file, or a folder, of code."""
    return path.endswith(".py") or path.removeprefix(f"{LINK.as_posix()}/").startswith("stages/")
