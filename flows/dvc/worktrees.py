"""A separate checkout for a run, so that nobody's is touched; it shares DVC's cache and remotes with the clone."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flows.dvc import storage
from flows.running import git
from flows.running.code import link_code
from flows.running.root import worktrees_folder


@contextlib.contextmanager
def worktree(root: Path, revision: str) -> Iterator[Path]:
    """The project at `root` at `revision`, in a folder that is removed afterwards; its HEAD is detached.

    The caller ensures that no other is made at the same time: leftovers of a killed run are removed first.
    """
    home = worktrees_folder(root)
    _remove_all(root, home)
    home.mkdir(parents=True, exist_ok=True)
    top = Path(tempfile.mkdtemp(dir=home))
    # Without hooks: DVC's own would check out every artifact.
    git.read(root, "-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--quiet", "--detach", str(top), revision)
    try:
        project = top / git.prefix(root)
        link_code(project)
        local = project / ".dvc/config.local"
        local.touch(mode=0o600)  # credentials of remotes go along
        local.write_text(storage.shared_configuration(root), encoding="utf-8")
        yield project
    finally:
        _remove_all(root, home)


def _remove_all(root: Path, home: Path) -> None:
    """Remove the worktrees in `home` and no others: somebody's may be on a disk that is not mounted just now."""
    for line in git.attempt(root, "worktree", "list", "--porcelain").stdout.splitlines():
        path = Path(line.removeprefix("worktree "))
        if line.startswith("worktree ") and path.parent == home.resolve():
            shutil.rmtree(path, ignore_errors=True)
            git.attempt(root, "worktree", "remove", "--force", "--force", str(path))
    shutil.rmtree(home, ignore_errors=True)
