"""The time that stages took on this machine, by their last run; each stage keeps its own (`Paths.seconds`).

It is no out, and git ignores it: of another machine it would say nothing.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from flows.running.root import clone_of
from stages.core.paths import Paths


def last_seconds(root: Path, stages: Iterable[str]) -> dict[str, float]:
    """The seconds that each of `stages` took here last; a stage that never ran here is left out.

    A worktree in which a stage has not run yet has the time of its clone.
    """
    found: dict[str, float] = {}
    for stage in stages:
        for folder in dict.fromkeys((root, clone_of(root))):
            with contextlib.suppress(OSError, ValueError):
                found.setdefault(stage, float(Paths(folder).seconds(stage).read_text(encoding="utf-8")))
    return found


def keep_seconds(root: Path) -> None:
    """Keep the times of the worktree `root` in its clone, as worktrees are removed; elsewhere nothing is to be done."""
    clone, kept = clone_of(root), Paths(root).seconds("")
    if clone != root and kept.is_dir():
        with contextlib.suppress(OSError):  # a full disk, say: nothing hangs on it
            shutil.copytree(kept, Paths(clone).seconds(""), dirs_exist_ok=True)


def about(seconds: float) -> str:
    """The time for people: "40 s", "12 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
