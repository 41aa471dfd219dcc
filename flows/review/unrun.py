"""Changes that were not run: the stages whose results in dvc.lock belong to other code, parameters or data.

             clean ── finetune ── evaluate@teacher        finetune.epochs: 3 → 4
would run:            finetune    evaluate@teacher        and the figures of the teacher are of before
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc import planning
from flows.dvc.differences import changed_parameters
from flows.dvc.freshness import changed_code
from flows.dvc.locked import locked_stages
from flows.review.evidence import StageChange

Locked = Mapping[str, Mapping[str, Any]]  # the stages of dvc.lock that dvc.yaml has


@dataclass(frozen=True)
class Unrun:
    """The stages that would run, and those that follow them, in the order of dvc.lock; each with its reasons."""

    stages: tuple[StageChange, ...]
    makers: Mapping[str, str]
    """Path of an out -> the stage that makes it, according to dvc.lock."""

    def of(self, path: str) -> bool:
        """Whether an out, by its path from the root, is outdated; one that dvc.lock does not have was never made."""
        names = {change.stage for change in self.stages}
        return bool(names) and (path not in self.makers or self.makers[path] in names)


def unrun(root: Path) -> Unrun:
    """The stages that `winnow plan --check` complains of. Raises DvcError where DVC cannot tell."""
    direct = planning.stale(root)
    locked: Locked = locked_stages(root)
    makers = {out["path"]: name for name, stage in locked.items() for out in stage.get("outs") or []}
    after = _after(direct, locked, makers)
    names = [*(name for name in locked if name in after), *(name for name in after if name not in locked)]
    return Unrun(
        tuple(
            StageChange(name, tuple(_reasons(root, name in direct, locked.get(name), after[name]))) for name in names
        ),
        makers,
    )


def _after(direct: Sequence[str], locked: Locked, makers: Mapping[str, str]) -> dict[str, list[str]]:
    """Each stage that would run or that follows one that would; with the stages that it follows."""
    found: dict[str, list[str]] = {name: [] for name in direct}
    todo = list(direct)
    while todo:
        first = todo.pop()
        for name, stage in locked.items():
            if any(makers.get(dep["path"]) == first for dep in stage.get("deps") or []):
                if name not in found:
                    todo.append(name)
                found.setdefault(name, []).append(first)
    return found


def _reasons(root: Path, direct: bool, locked: Mapping[str, Any] | None, after: Sequence[str]) -> Iterator[str]:
    if locked is None:
        yield "it has never run"
        return
    own = [*changed_parameters(root, dict(locked)), *changed_code(root, locked)]
    yield from own
    if after:
        yield f"after {', '.join(sorted(after))}"
    elif direct and not own:
        yield "its command, its data or what it wrote is not what dvc.lock says"
