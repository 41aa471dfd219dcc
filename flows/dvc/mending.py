"""Repair of the files that a killed DVC left half-written: it writes both in place, and then refuses to run."""

from __future__ import annotations

import fcntl
import json
import logging
import re
from pathlib import Path
from typing import Any

from flows.running.root import own_folder
from stages.core.yaml_text import parse

log = logging.getLogger("winnow")


def mend(root: Path) -> None:
    """Repair DVC's list of files in use, and dvc.lock. Raises ValueError where dvc.lock has a merge conflict."""
    _mend_rwlock(root)
    _mend_lock_file(root)


def _mend_rwlock(root: Path) -> None:
    # A torn list keeps nobody out, and each stage has a lock of its own.
    rwlock = root / ".dvc/tmp/rwlock"
    if not rwlock.is_file():
        return
    with rwlock.with_name("rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # DVC holds it while it writes
        try:
            json.loads(rwlock.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except ValueError:
            log.warning("%s was torn by a run that was killed. It is removed.", rwlock)
            rwlock.unlink()


def _mend_lock_file(root: Path) -> None:
    # It is cut back to its last whole stage: what comes after that comes back from the run cache.
    file = root / "dvc.lock"
    if not file.is_file() or _is_whole(file.read_bytes()):
        return
    lock = root / ".dvc/tmp/lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # DVC holds it while it writes
        content = file.read_bytes()
        if _is_whole(content):
            return
        if re.search(rb"^<{7} ", content, re.MULTILINE):
            raise ValueError(
                "dvc.lock has a merge conflict. Take one side: `git checkout --ours dvc.lock`, or --theirs."
            )
        torn = own_folder(root) / "dvc.lock.torn"
        torn.parent.mkdir(parents=True, exist_ok=True)
        torn.write_bytes(content)
        starts = [found.start() for found in re.finditer(rb"^  [^\s#].*$", content, re.MULTILINE)]
        whole = next((content[:start] for start in reversed(starts) if _is_whole(content[:start])), None)
        mended = file.with_name("dvc.lock.mended")
        mended.write_bytes(whole or _NO_STAGES)
        mended.replace(file)
    log.warning("dvc.lock was torn by a run that was killed. Its whole stages are kept; as it was, it is in %s.", torn)


_NO_STAGES = b"schema: '2.0'\nstages: {}\n"


def _is_whole(content: bytes) -> bool:
    if not content.endswith(b"\n"):
        return False
    try:
        found = parse(content.decode(), "dvc.lock")
        return "schema" in found and all(_is_whole_stage(stage) for stage in found.get("stages", {}).values())
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def _is_whole_stage(stage: Any) -> bool:
    files = [*stage.get("deps", []), *stage.get("outs", [])]
    return isinstance(stage["cmd"], str | list) and all(isinstance(file["path"], str) for file in files)
