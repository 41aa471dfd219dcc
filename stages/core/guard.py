"""Guard of a stage's outs: whatever ends `python -m stages.NAME`, from its first moment on, they are as before.

DVC deletes a stage's outs, and then starts the stage, whose libraries take seconds to load. So `stages/__init__.py`
begins this guard before all of them; `kept` takes over once they are loaded and the stage has its lock. Here is only
the standard library, and nothing that an older Python cannot read: the `python` that DVC found may be anybody's.

    start ─ begin ─ libraries load ─ kept ─ the stage ─ end
              └─ a signal, an error:  └─ a signal, an error raise: the stage cleans up,
                 outs back, one line     outs back, one line

A child puts the outs back, by running this file: the stage's own process may be amid an import.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

OLDEST = (3, 11)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, `kill`, a terminal that is closed
GRACE_SECONDS = 5.0  # for a stage to clean up, before another signal has an effect
VENV = ".venv"  # where `make setup` puts the project's Python
# Variables that torch elastic and DeepSpeed's launcher set for each process that they start: its number on this
# machine, and the number of all.
WORKER, PROCESSES = "LOCAL_RANK", "WORLD_SIZE"


class StoppedError(SystemExit):
    """Somebody ended the stage; the exit code is 128 plus the number of the signal."""


def begin() -> None:
    """Guard this process, a `python -m stages.NAME` that has only just started."""
    if is_worker():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who started the workers ends them
        end_with_parent()
        return
    _on_ending(_end)
    sys.excepthook = _fail
    if sys.version_info < OLDEST:
        back = _put_back_unless_it_runs()
        _say(_name(), _another_python(f"it needs {OLDEST[0]}.{OLDEST[1]} or newer"), back)
        os._exit(1)


def is_worker() -> bool:
    """Whether this is one of several processes of a stage. One that trained alone leaves a 1 to its children."""
    return bool(os.environ.get(WORKER)) and os.environ.get(PROCESSES) not in (None, "1")


def end_with_parent() -> None:
    """Have the kernel end this process when its parent dies, however that happens; on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def kept(name: str) -> Iterator[None]:
    """Restore the outs of the stage `name` where it fails or is ended; in the latter case say how to continue.

    From now on a signal that ends the stage raises an exception, so that it cleans up. Its lock is held.
    """
    heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        _on_ending(_Raise(name))
        if sys.excepthook is _fail:
            sys.excepthook = _explain
        yield
        _on_ending(signal.SIG_IGN)  # it is done: what ends it now must not keep DVC from recording that
    except BaseException as error:
        _on_ending(signal.SIG_IGN)  # what puts the outs back must not be ended
        back = put_back(os.environ.get("DVC_STAGE"))
        if isinstance(error, StoppedError):
            _say(name, _stopped(), back)
        elif back is False:
            _say(name, "failed.", back)
        for number in heard:
            signal.signal(number, signal.SIG_DFL)  # nothing is left to lose
        raise


def put_back(address: str | None) -> bool | None:
    """Restore the outs of the DVC stage `address` that dvc.lock knows, from DVC's cache, metrics also from git.

    Returns whether all are there, or None where there is no `address`: nobody deleted anything. Nothing interrupts it.
    """
    if not address:
        return None
    python = _with_dvc()
    if python is None:
        return False
    with _deaf(), contextlib.suppress(OSError):
        # -P: no file of the project, and none beside this one, can stand in for a module of DVC's.
        command = [python, "-P", __file__, address]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def _with_dvc() -> str | None:
    """A Python that can run this file as a child: the project's, or else this one."""
    here = Path(VENV, "bin/python")
    if here.exists():
        return str(here)
    return sys.executable if sys.version_info >= OLDEST and importlib.util.find_spec("dvc") else None


def _put_back_unless_it_runs() -> bool | None:
    """Call `put_back`, unless another process is running this stage: then its outs are left to that."""
    with contextlib.suppress(FileNotFoundError), Path("artifacts/.locks", f"{_name()}.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if lock.read().strip() != str(os.getpid()):  # this process may have taken it a moment ago
                return None
    return put_back(os.environ.get("DVC_STAGE"))


def _name() -> str:
    """The stage's name in DVC; where it was started by hand, its module."""
    address = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    started = [argument for argument in getattr(sys, "orig_argv", []) if argument.startswith("stages.")]
    return address or (started or ["stage"])[0].replace("stages.", "")


def _on_ending(handler: Any) -> None:
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, handler)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ignore signals inside, in this process and in children that are started meanwhile."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    """End this process at once: an exception could be lost in the import of somebody's library."""
    _on_ending(signal.SIG_IGN)
    try:
        _say(_name(), _stopped(), _put_back_unless_it_runs())
    finally:
        os._exit(128 + number)


class _Raise:
    """The signal handler while the stage `name` runs: it raises, and later ends a stage that lost the exception.

    Python drops exceptions raised in a `__del__` or a callback, and a library may catch all of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._first: float | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            raise StoppedError(128 + number)
        if now - self._first < GRACE_SECONDS:
            return  # a second Ctrl-C must not end what the first one cleans up
        _on_ending(signal.SIG_IGN)
        try:
            _say(self._name, _stopped(), put_back(os.environ.get("DVC_STAGE")))
        finally:
            os._exit(128 + number)


def _fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The exception hook while libraries are loaded: restore the outs, and explain the error."""
    _on_ending(signal.SIG_IGN)
    back = _put_back_unless_it_runs()
    _explain(kind, error, trace, back)


def _explain(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, back: bool | None = None
) -> None:
    """Report a missing package in one line; any other error at this point is a fault in the code."""
    own = (getattr(error, "name", None) or "").startswith(("stages", "flows"))
    if isinstance(error, ImportError) and not own and not os.environ.get("WINNOW_DEBUG"):
        _say(_name(), _another_python(str(error)), back)
    else:
        sys.__excepthook__(kind, error, trace)
        if back is False:
            _say(_name(), "failed.", back)


def _stopped() -> str:
    under_dvc = "; `dvc repro` goes on, a training from its last checkpoint"
    return f"stopped{under_dvc if os.environ.get('DVC_STAGE') else ''}."


def _another_python(problem: str) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    which = f"{sys.executable} (Python {version}) cannot run this: {problem}."
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV):
        return f"{which} Install the pinned packages: `make setup`."
    return f"{which} Stages run with the first `python` on PATH: `source {VENV}/bin/activate`, or use `make repro`."


def _say(name: str, what: str, back: bool | None) -> None:
    """Print one line, and, if DVC had deleted outs, whether they are restored."""
    if back is not None:
        by_hand = f"Not all of its outs are there; what is left: `dvc checkout {name}` and `git restore metrics`."
        what += f" {'Its outs are as before.' if back else by_hand}"
    with contextlib.suppress(AttributeError, OSError, ValueError):  # nobody listens: `2>&-`, a pipe without a reader
        sys.stderr.write(f"{name}: {what}\n")
        sys.stderr.flush()


def _restore(address: str) -> bool:
    """The work of the child that restores outs. Returns whether all outs in dvc.lock are there, with its hashes."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        outs = [out for out in repo.stage.get_target(address).outs if out.hash_info]
        with contextlib.suppress(DvcException):  # the cache has not all of them
            repo.checkout(targets=[address], force=True)
        cache = Path(repo.cache.local_cache_dir)
        # Metrics are in git, not in DVC's cache for outs; its run cache keeps their bytes all the same.
        for out in (out for out in outs if not out.use_cache):
            path, digest = Path(out.fs_path), out.hash_info.value
            if digest.endswith(".dir") or _digest(_read(path)) == digest:  # the former: a list of a folder's files
                continue
            found = (_read(cache / "files/md5" / digest[:2] / digest[2:]), _in_git(path))
            for content in (content for content in found if content is not None and _digest(content) == digest):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return all(out.exists and not out.changed_checksum() for out in outs)


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _in_git(path: Path) -> bytes | None:
    command = ["git", "show", f":./{path.relative_to(Path.cwd()).as_posix()}"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(0 if _restore(sys.argv[1]) else 1)
