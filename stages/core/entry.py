"""The start and end of a stage, as `python -m stages.NAME`: parameters, logs, one run at a time, errors in a line."""

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

from safetensors import SafetensorError

from stages.core import guard
from stages.core.params.file import Params, load_params
from stages.core.params.task import faults_of_task
from stages.core.paths import Paths

log = logging.getLogger("winnow")
TOLD = (ValueError, OSError, SafetensorError)  # bad input, and machines that are full, say: users can do something
LINE = 280  # characters of a library's error, which can be a page


def run_stage(
    stage: Callable[..., None], *arguments: str, launch: Callable[[str], list[str] | None] | None = None
) -> None:
    """Run `stage(params, paths, *arguments)` in the current folder; where it fails, log the reason and exit with 1.

    `launch(module)` gives the command that starts the stage's processes, or None where this process runs it.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    name = "@".join((stage.__name__, *arguments))
    paths = Paths(Path())
    if launch and guard.is_worker():
        _work(stage, name, paths)
        return
    try:
        with only_one(paths.locks / f"{name}.lock", name), guard.kept(name):
            started = time.perf_counter()
            params = params_of(paths)
            if command := launch(f"stages.{stage.__name__}") if launch else None:
                _start_workers(command)
            else:
                stage(params, paths, *arguments)
            _done(name, paths, time.perf_counter() - started)
    except TOLD as error:
        _tell(name, error)
        sys.exit(1)


def params_of(paths: Paths) -> Params:
    """The parameters. Raises ValueError, with a line each, for values that the task cannot be done with.

    `winnow check` refuses them too; but a stage may run alone, or after they were changed. The task's settings, which
    say it, are no dep of the stage: no out can depend on them.
    """
    params = load_params(paths.params)
    if faults := list(faults_of_task(params)):
        raise ValueError("\n".join(faults))
    return params


def _done(name: str, paths: Paths, seconds: float) -> None:
    """Log the stage's duration, and keep it for `winnow plan`; a failure to keep it does not fail the stage."""
    log.info("%s: done in %.1f s", name, seconds)
    with contextlib.suppress(OSError):
        paths.seconds(name).parent.mkdir(parents=True, exist_ok=True)
        paths.seconds(name).write_text(f"{seconds:.1f}\n", encoding="utf-8")


def _tell(name: str, error: Exception) -> None:
    """Log the error in one or a few lines, without its traceback; with WINNOW_DEBUG set, raise it."""
    if os.environ.get("WINNOW_DEBUG"):
        raise error
    for line in _words(error).splitlines() or [type(error).__name__]:
        log.error("%s: %s", name, line)


def _words(error: Exception) -> str:
    """The error's message: of a copied folder's errors the first; of a long one the beginning and the end."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        (_, _, why), *others = error.args[0]
        return f"{_cut(str(why))}{f' (and so for {len(others)} others)' if others else ''}"
    if isinstance(error, ValueError):
        return str(error)
    text = _cut(" ".join(str(error).split()))
    if "No space left" in text and getattr(error, "filename", None) is None:
        text += f". Free some on the disk of {Path.cwd()}, or of {os.environ.get('TMPDIR', '/tmp')}."  # noqa: S108
    return text


def _cut(text: str) -> str:
    return text if len(text) <= LINE else f"{text[: LINE // 2]} ... {text[-LINE // 2 + 5 :]}"


def _start_workers(command: list[str]) -> None:
    """Run the stage in several processes. Raises SystemExit where one fails, which has logged the reason."""
    # In a group of its own, Ctrl-C does not reach it: this process ends it.
    with subprocess.Popen(command, preexec_fn=guard.end_with_parent, process_group=0) as launcher:
        try:
            code = launcher.wait()
        except BaseException:
            # torchrun tells of its end in forty lines; where it is gone, the kernel ends the workers. DeepSpeed's
            # launcher has other machines to tell.
            (launcher.kill if "torch.distributed.run" in command else launcher.terminate)()
            raise
    if code != 0:
        raise SystemExit(code if code > 0 else 128 - code)


def _work(stage: Callable[..., None], name: str, paths: Paths) -> None:
    """Run as one of a stage's processes; the one that started them holds the lock, and restores outs if one fails."""
    guard.end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, even while it waits for another
    number = os.environ.get("RANK", "0")
    if number != "0":
        log.setLevel(logging.WARNING)
    try:
        stage(params_of(paths), paths)
    except TOLD as error:
        _tell(name if number == "0" else f"{name}, process {number}", error)
        sys.stderr.flush()
        os._exit(1)  # at once: the others wait for this one


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
