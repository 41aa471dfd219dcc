"""Locks across processes, each a file that the kernel unlocks when its holder dies, however that happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.running.root import own_folder

POLL_SECONDS = 0.5


def lock_file(root: Path, name: str) -> Path:
    """The file of the lock `name` of the clone at `root`.

    Raises ValueError where DVC's repository does not begin at `root`: to make its folder there would hide it.
    """
    if not (root / ".dvc").is_dir():
        raise ValueError(
            f"{root} has no folder .dvc. Run `dvc init --subdir` there, or work where dvc.yaml and .dvc are."
        )
    return own_folder(root) / f"{name}.lock"


@contextlib.contextmanager
def one_at_a_time(lock: Path, on_wait: Callable[[str], object], *, wait: bool = True) -> Iterator[None]:
    """Hold `lock` inside; `on_wait` is told once who holds it, as "process 4711".

    Raises BlockingIOError with that where it is held and `wait` is false.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = f"process {file.read().strip() or '(unknown)'}"
                if not wait:
                    raise BlockingIOError(holder) from None
                if not told:
                    on_wait(holder)
                    told = True
                time.sleep(POLL_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
