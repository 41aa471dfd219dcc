"""The files that a proposal may change: data and results, and nothing that runs or decides; stated here alone.

    dvc.lock       as it comes
    metrics/       files of JSON
    params.yaml    ingest.hub.revision
    DATA           files of rows, where git keeps the data (ingest.path)
    DATA.dvc       hashes and sizes, where DVC keeps the data

All of them are plain files. The place of the data is taken from the commit below the proposal, never from the proposal
itself.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from flows.dvc.edits import set_values
from flows.running import git
from stages.core.yaml_text import parse
from stages.reading.storage import ENDINGS

ABSENT, PLAIN, EXECUTABLE = "000000", "100644", "100755"  # git's modes
KINDS = {EXECUTABLE: "executable", "120000": "a symlink", "160000": "a submodule"}
AS_WRITTEN = {"GIT_NO_REPLACE_OBJECTS": "1"}  # no other commit or file stands in for one
REVISION = "ingest.hub.revision"
# Keys that DVC rewrites in a .dvc file when its data changes; paths, addresses and commands are not among them.
_MEASURED = re.compile(
    r"^((?: |- )*(?:md5|size|nfiles|etag|checksum|mtime|version_id|rev_lock)): +[\w.:+'\"-]+$", re.MULTILINE
)


class Change(NamedTuple):
    """A path that differs between two commits; a mode is ABSENT where a commit lacks it."""

    path: str
    mode_before: str
    mode_after: str


@dataclass(frozen=True)
class _Step:
    """A step from one commit to the next, in the project at `root`; `prefix` is its path from git's top folder."""

    root: Path
    before: str
    after: str
    prefix: str
    data: PurePosixPath | None
    """The path of the data within the project; None where it lies outside."""

    def texts(self, name: str) -> tuple[str, str]:
        """The file `name` of the project before and after."""
        before, after = (git.attempt(self.root, "show", f"{at}:./{name}", **AS_WRITTEN) for at in self._ends)
        return before.stdout, after.stdout

    @property
    def _ends(self) -> tuple[str, str]:
        return self.before, self.after


def refusal(root: Path, commit: str, base: str) -> str | None:
    """Why `commit` cannot be released unseen on top of `base`, in words; None where it is one step of data and results.

    Both are commits. Nothing that the commit says about itself counts.
    """
    return misplaced(root, commit, base) or next(more_than_results(root, f"{commit}^", commit), None)


def misplaced(root: Path, commit: str, base: str) -> str | None:
    """A complaint that `commit` is no single step from a commit that `base` has; None where it is one."""
    parents = git.read(root, "rev-list", "--parents", "--max-count=1", commit, **AS_WRITTEN).split()[1:]
    if len(parents) != 1:
        return f"it has {len(parents)} parents, and a proposal has one"
    if git.attempt(root, "merge-base", "--is-ancestor", parents[0], base, **AS_WRITTEN).returncode != 0:
        return f"it stands on {parents[0][:7]}, which is no part of the branch that it is for ({base[:7]})"
    return None


def more_than_results(root: Path, before: str, after: str) -> Iterator[str]:
    """The differences between two commits that are more than data and results, in words."""
    prefix = git.prefix(root)
    step = _Step(root, before, after, prefix, _data(root, before))
    for change in changes(root, before, after):
        if fault := _fault(step, change):
            yield f"{change.path} {fault}"


def changes(root: Path, before: str, after: str) -> Iterator[Change]:
    """Every path that differs between two commits, from git's top folder; a moved file counts as two paths."""
    options = ["-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=none"]
    fields = git.read(root, "diff-tree", *options, before, after, **AS_WRITTEN).split("\0")
    for told, path in zip(fields[0::2], fields[1::2], strict=False):
        mode_before, mode_after = told.removeprefix(":").split()[:2]
        yield Change(path, mode_before, mode_after)


def _data(root: Path, commit: str) -> PurePosixPath | None:
    """The path of the data in the params.yaml of `commit`; None where that is not within the project."""
    done = git.attempt(root, "show", f"{commit}:./params.yaml", **AS_WRITTEN)
    section = (parse(done.stdout, "params.yaml") or {}).get("ingest") or {}
    path = os.path.normpath(str(section.get("path", "..")))
    return None if "://" in path or path.startswith(("/", "..")) else PurePosixPath(path)


def _fault(step: _Step, change: Change) -> str | None:
    """The fault of one change, phrased to follow its path; None where a proposal may make it."""
    modes = {change.mode_before, change.mode_after} - {ABSENT}
    if modes not in ({PLAIN}, {EXECUTABLE}) or (modes == {EXECUTABLE} and ABSENT in change[1:]):
        return f"is {next(KINDS.get(mode, f'of the mode {mode}') for mode in sorted(modes - {PLAIN}))}"
    name = PurePosixPath(change.path.removeprefix(step.prefix))
    if not change.path.startswith(step.prefix) or any(part.startswith(".") for part in name.parts):
        return "is nothing that a retraining writes"
    if _is_rows(step, name):
        return None
    if change.mode_after == ABSENT:
        return "is gone"
    if str(name) == "dvc.lock" or (name.parts[0] == "metrics" and name.suffix == ".json"):
        return None
    if str(name) == "params.yaml":
        return None if _only_revision(step) else f"has more changes than {REVISION}"
    if name.suffix == ".dvc" and _points_at_data(step, name):
        before, after = (_MEASURED.sub(r"\1:", text) for text in step.texts(str(name)))
        return None if before == after else "has more changes than the hash and the size of its data"
    return "is neither data nor a result"


def _is_rows(step: _Step, name: PurePosixPath) -> bool:
    """Whether it is a file of rows that Winnow reads, in the place of the data."""
    if step.data is None or not (name == step.data or step.data in name.parents):
        return False
    return name.name.lower().removesuffix(".gz").endswith(ENDINGS)


def _points_at_data(step: _Step, name: PurePosixPath) -> bool:
    """Whether it is the .dvc file of the data, of a folder around it, or of a part of it."""
    if step.data is None:
        return False
    target = name.with_suffix("")
    return target == step.data or target in step.data.parents or step.data in name.parents


def _only_revision(step: _Step) -> bool:
    """Whether the two params.yaml differ in nothing but the revision of the dataset on the Hub, byte for byte."""
    before, after = step.texts("params.yaml")
    known, found = (set(re.findall(r"\b[0-9a-f]{40}\b", text)) for text in (before, after))
    if len(found - known) != 1:
        return False
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        file = Path(folder, "params.yaml")
        file.write_text(before, encoding="utf-8")
        set_values(file, {REVISION: (found - known).pop()})
        return file.read_text(encoding="utf-8") == after
