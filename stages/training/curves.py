"""DVCLive's curves of a run, written by the first process; a resumed run continues them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from dvclive import Live

from stages.training.processes import rank


class _Live(Live):
    """DVCLive without its experiments: for them it asks git for the last commit, and a new project may have none."""

    def _init_dvc(self) -> None:
        """The graph keeps the curves."""


class Curves:
    """Writer of points; in every process but the first, it writes nothing."""

    def __init__(self, live: Live | None) -> None:
        self._live = live

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log one point for each value, at an optimizer step."""
        if self._live is None:
            return
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)


@contextlib.contextmanager
def open_curves(folder: Path, kept: Mapping[str, str]) -> Iterator[Curves]:
    """The curves in `folder`: new ones, or those in `kept`, by file name."""
    if rank() != 0:
        yield Curves(None)
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in kept.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with _Live(str(folder), dvcyaml=None, save_dvc_exp=False, monitor_system=False, resume=bool(kept)) as live:
        yield Curves(live)


def read_curves(folder: Path) -> dict[str, str]:
    """The files of the curves so far, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in files}
