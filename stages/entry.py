"""How a stage starts and ends, as `python -m stages.NAME`: parameters, logs, one run at a time, errors in a line.

DVC deletes a stage's outs before it runs the stage. Where a stage fails, this puts back what dvc.lock knows of
them, so that bad input costs nobody an artifact.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import yaml

from stages.params import load_params
from stages.paths import Paths

log = logging.getLogger("winnow")


def run_stage(stage: Callable[..., None], *arguments: str) -> None:
    """Run `stage(params, paths, *arguments)` in the current folder; where it fails, say why and exit with 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    name = "@".join((stage.__name__, *arguments))
    paths = Paths(Path())
    try:
        with only_one(paths.locks / f"{name}.lock", name), _restored_on_failure():
            started = time.perf_counter()
            stage(load_params(paths.params), paths, *arguments)
            log.info("%s: done in %.1f s", name, time.perf_counter() - started)
    except (ValueError, OSError) as error:
        if os.environ.get("WINNOW_DEBUG"):
            raise
        for line in str(error).splitlines() or [type(error).__name__]:
            log.error("%s: %s", name, line)
        sys.exit(1)


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that what a failure cleans up is cleaned up here too


@contextlib.contextmanager
def only_one(lock: Path, name: str) -> Iterator[None]:
    """Hold `lock` while the stage runs. Raises BlockingIOError where another process holds it.

    The kernel frees the lock when its holder dies, however that happens.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BlockingIOError(
                f"process {file.read().strip() or 'unknown'} is running {name} in this clone. Wait for it, or end it."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextlib.contextmanager
def _restored_on_failure() -> Iterator[None]:
    try:
        yield
    except BaseException:
        if address := os.environ.get("DVC_STAGE"):
            restore_outs(address)
        raise


def restore_outs(address: str) -> None:
    """Put back the outs of the DVC stage `address` that dvc.lock knows, from DVC's cache."""
    lock_file = Path("dvc.lock")
    lock = yaml.safe_load(lock_file.read_text(encoding="utf-8")) if lock_file.is_file() else {}
    outs = (lock or {}).get("stages", {}).get(address, {}).get("outs", [])
    if not outs:
        return
    with contextlib.suppress(OSError):
        command = [sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", address]
        subprocess.run(command, capture_output=True, check=False)
        # Metrics are in git, not in DVC's cache for outs; its run cache keeps their bytes all the same.
        for path, digest in ((Path(out["path"]), out["md5"]) for out in outs):
            kept = Path(".dvc/cache/files/md5", digest[:2], digest[2:])
            if not path.exists() and kept.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept, path)
