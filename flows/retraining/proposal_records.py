"""Records of this clone about proposals, by their commits.

A branch, its commits and their messages come from whoever may push. So nothing is released because of their content,
but only because of a record in the .git folder of this clone, which no push, fetch, merge or checkout can write.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.running import git


@dataclass(frozen=True)
class Judged:
    """The gate's verdict in this clone on a commit that this clone made."""

    gate: str  # "pass", "fail", "inconclusive", "no verdict"
    against: str | None  # the commit that was released then, in full; None: nothing was


def judged(root: Path, commit: str) -> Judged | None:
    """This clone's verdict on `commit`; None where it gave none."""
    known = _known(root, commit)
    return Judged(known["gate"] or "", known.get("against")) if "gate" in known else None


def remember(root: Path, commit: str, verdict: Judged) -> None:
    """Keep the verdict on `commit`, before a branch names it."""
    _keep(root, commit, {"gate": verdict.gate, "against": verdict.against})


def is_refused(root: Path, commit: str) -> bool:
    """Whether this clone has recorded before that `commit` is no proposal."""
    return "refused" in _known(root, commit)


def refuse(root: Path, commit: str, why: str) -> None:
    """Record that `commit` is no proposal, so that this is reported only once."""
    _keep(root, commit, {"refused": why})


def _known(root: Path, commit: str) -> Mapping[str, str | None]:
    with contextlib.suppress(OSError, ValueError):  # what a disk has lost is not known
        if isinstance(found := json.loads(_file(root, commit).read_text(encoding="utf-8")), dict):
            return found
    return {}


def _keep(root: Path, commit: str, content: Mapping[str, str | None]) -> None:
    path = _file(root, commit)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(path)


def _file(root: Path, commit: str) -> Path:
    """The file of the record, named by a commit's full hash; all worktrees of the clone share the folder."""
    return (root / git.read(root, "rev-parse", "--git-common-dir")).resolve() / f"winnow/proposals/{commit}.json"
