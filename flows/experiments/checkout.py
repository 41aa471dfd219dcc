"""Runs of the last commit's graph with some parameters changed, in a checkout of its own.

DVC reproduces them. Stages that the runs have in common (the data above all) run once, and earlier results come from
DVC's cache: a repeated measurement costs next to nothing, and an interrupted one continues.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc import reproducing
from flows.dvc.edits import set_values
from flows.dvc.worktrees import worktree
from flows.retraining.refresh import inputs_of, not_here
from flows.running import git
from flows.running.locks import lock_file, one_at_a_time
from flows.running.processes import Children
from stages.core.params.file import Params, load_params

Log = Callable[[str], object]


@dataclass(frozen=True)
class Checkout:
    """The last commit in a folder of its own, with its parameters as they are committed."""

    folder: Path
    params: Params
    log: Log
    children: Children

    def reproduce(self, changes: Mapping[str, Any], targets: Sequence[str]) -> None:
        """Bring the stages `targets` up to date with these parameters changed, named as "distill.losses.labels".

        Raises DvcError where a stage fails, ValueError for a parameter that is not there.
        """
        git.read(self.folder, "checkout", "--quiet", "--", "params.yaml")
        set_values(self.folder / "params.yaml", changes)

        def on_line(line: str) -> None:
            if line.startswith("Running stage"):
                self.log(f"  {line.removeprefix('Running stage ').strip(':')}")

        reproducing.stream(self.folder, ["repro", *targets], on_line, self.children)

    def run(self, module: str, arguments: Sequence[str] = ()) -> None:
        """Run a module of the project there by itself. Raises DvcError with its last line."""
        reproducing.run_module(self.folder, module, arguments, lambda line: self.log(f"  {line}"), self.children)

    def measured(self, name: str) -> Any:
        """The content of the file `name` of metrics/, such as "quality/teacher"."""
        return json.loads((self.folder / f"metrics/{name}.json").read_text(encoding="utf-8"))


@contextlib.contextmanager
def checkout(root: Path, log: Log, *, name: str) -> Iterator[Checkout]:
    """Check the last commit of the project at `root` out, with the data that DVC keeps of it; `name` is for the log.

    Raises DvcError where the data is not available, BlockingIOError where a retraining or another measurement is under
    way.
    """
    if git.read(root, "status", "--porcelain", "--untracked-files=no"):
        log(f"{name}: of the last commit; what is not committed is left out")
    with (
        _alone(root, log),
        Children() as children,
        worktree(root, "HEAD") as folder,
        one_at_a_time(lock_file(root, "reproduce"), lambda who: log(f"waiting: {who} reproduces here")),
    ):
        params = load_params(folder / "params.yaml")
        if pointers := not_here(folder, inputs_of(root, params)):
            reproducing.stream(folder, ["checkout", *pointers], log, children)
        yield Checkout(folder, params, log, children)


@contextlib.contextmanager
def _alone(root: Path, log: Log) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(one_at_a_time(lock_file(root, "retrain"), log, wait=False))
        except BlockingIOError as holder:
            raise BlockingIOError(
                f"{holder} retrains or measures in this clone. Run this again when it is done."
            ) from None
        yield


def seeds_of(params: Params, count: int) -> tuple[int, ...]:
    """`count` seeds from that of params.yaml on, `finetune.teachers` apart, so that no two teachers share one."""
    step = params.finetune.teachers
    return tuple(range(params.seed, params.seed + count * step, step))


def spread(values: Sequence[float]) -> float:
    """The standard deviation of a sample; 0 of one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0
