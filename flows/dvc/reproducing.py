"""Stages brought up to date, each by a child of DVC's in a process group of its own, which ends as one.

Threads of one process do not exclude each other in DVC, and a `dvc repro` that gets SIGTERM leaves its stage running.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.dvc import command as dvc_command
from flows.dvc.command import DvcError, environment
from flows.dvc.mending import mend
from flows.dvc.output import lines_of
from flows.running import forked
from flows.running.forked import Forked, Loaded
from flows.running.masking import masked
from flows.running.processes import Children, EndedError
from flows.running.root import clone_of, own_folder
from flows.running.signals import ending_signals_raise

LOADED = Path(__file__).with_name("loaded.py")  # by its path, and with -P: no file of the project can stand in for it
TRIES = 2  # to load DVC
State = Literal["ran", "unchanged", "restored"]


@dataclass(frozen=True)
class Outcome:
    """The result of `reproduce` for a stage, and DVC's reason."""

    stage: str
    state: State
    reason: str


def reproduce(
    ready: Ready,
    stage: str,
    on_line: Callable[[str], object],
    *,
    force: bool = False,
    on_bar: Callable[[str], object] | None = None,
) -> Outcome:
    """Bring one stage up to date whose predecessors already are; with `force`, run it in any case.

    `on_line` gets the output of DVC and of the stage, line by line, in this thread; `on_bar` the states of a progress
    bar. Raises DvcError with their own words where the stage fails, and EndedError where the children were ended. Where
    this thread is interrupted, all processes that the child started are ended.
    """
    outcome: Outcome | None = None
    tail: deque[str] = deque(maxlen=50)
    mend(ready.root)
    arguments = ["--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), "--", stage]
    with ending_signals_raise(), ready.children.until_left(ready.take()) as process:
        _order(process, arguments)
        for line in lines_of(process, on_bar):
            # DVC speaks first: what the stage prints later cannot change what is said here.
            outcome = outcome or _outcome(stage, line)
            tail.append(line)
            if not line.strip().startswith(_ADVICE):
                on_line(line)
        code = process.wait()
    if code != 0:
        raise DvcError(_failure(stage, list(tail), code))
    if outcome is None:
        raise DvcError(f"{stage}: DVC did not say what it did. Its last line: {tail[-1] if tail else 'none'}")
    return outcome


class Ready:
    """A DVC that has loaded everything, and forks for each stage: its start would be most of a small stage's time.

    It is loaded in advance where it is `wanted`, and again where it died. Where forks are not safe, each stage has a
    DVC of its own, loaded while the one before is at work.
    """

    def __init__(self, root: Path, children: Children, *, wanted: bool) -> None:
        self.root, self.children = root, children
        # Checkpoints of a run that is interrupted in a worktree, which is then removed, must be found by the next run.
        kept = own_folder(clone_of(root)) / "checkpoints"
        self._environment = environment(root) | {"WINNOW_PROGRESS": "1", "WINNOW_CHECKPOINTS": str(kept)}
        self._lock = threading.Lock()
        self._loaded = self._start() if wanted and forked.CAN_FORK else None
        self._next = self._one() if wanted and not forked.CAN_FORK else None

    def take(self) -> subprocess.Popen[bytes] | Forked:
        """A process that waits for its order. Raises EndedError where the run is being ended."""
        if not forked.CAN_FORK:
            with self._lock:
                taken, self._next = self._next or self._one(), self._one()
            return taken
        process = self._fork()
        try:
            return self.children.adopt(process)
        except EndedError:
            with process:  # it has no order, and ends
                raise

    def _fork(self) -> Forked:
        said = ""
        with self._lock:
            for _ in range(TRIES):
                if self.children.ended:
                    raise EndedError("not started: the run is being ended")
                self._loaded = self._loaded or self._start()
                if found := self._loaded.fork(lambda: not self.children.ended):
                    return found
                said = self._loaded.end()
                self._loaded = None
        if self.children.ended:
            raise EndedError("not started: the run is being ended")
        raise DvcError(
            f"DVC's process ended before it had an order: {masked(said) or 'killed; out of memory, perhaps'}"
        )

    def _one(self) -> subprocess.Popen[bytes]:
        return self.children.start(_command(), self.root, self._environment, stdin=subprocess.PIPE)

    def _start(self) -> Loaded:
        return Loaded(_command("--forks"), self.root, self._environment)

    def __enter__(self) -> Ready:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            if self._loaded is not None:
                self._loaded.end()
                self._loaded = None
            left, self._next = self._next, None
        if left is not None:
            with self.children.until_left(left):
                _order(left, [])


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", str(LOADED), *arguments]


def _order(process: subprocess.Popen[bytes] | Forked, arguments: list[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as line:  # one that died says so by its exit code
        line.write(f"{json.dumps(arguments)}\n".encode())


_ADVICE = (  # DVC's advice to users at a terminal
    "Updating lock file", "To track the changes with git", "git add ", "To enable auto staging",
    "dvc config core.autostage", "Use `dvc push`",
)  # fmt: skip


def stream(root: Path, arguments: list[str], on_line: Callable[[str], object], children: Children) -> None:
    """Run a long DVC command; `on_line` gets its output, line by line. Raises DvcError with DVC's words."""
    _stream(root, [*dvc_command.DVC, "--wait-for-lock", *arguments], f"dvc {arguments[0]}", on_line, children)


def run_module(
    root: Path, module: str, arguments: Sequence[str], on_line: Callable[[str], object], children: Children
) -> None:
    """Run a module of the project directly, in the environment of a stage; DVC tracks nothing of it.

    Raises DvcError with its last line.
    """
    _stream(root, [sys.executable, "-m", module, *arguments], module, on_line, children)


def _stream(root: Path, command: list[str], name: str, on_line: Callable[[str], object], children: Children) -> None:
    tail: deque[str] = deque(maxlen=20)
    with (
        ending_signals_raise(),
        children.until_left(children.start(command, root, environment(root))) as process,
    ):
        for line in lines_of(process, None):
            tail.append(line)
            on_line(line)
        code = process.wait()
    if code != 0:
        raise DvcError(f"{name}: {_causes(tail) or (tail[-1] if tail else f'exit code {code}')}")


def _causes(lines: Iterable[str]) -> str:
    """DVC's errors in one line: unexpected ones alone, if any; else the first failed transfer, and the others."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    transfers = [re.sub(r"'.*?' - ", "a file: ", error, count=1) for error in errors if error.startswith(_TRANSFER)]
    unexpected = [error.removeprefix(_UNEXPECTED) for error in errors if error.startswith(_UNEXPECTED)]
    others = [error for error in errors if not error.startswith((_TRANSFER, _UNEXPECTED))]
    return "; ".join(unexpected or [*transfers[:1], *others])


_TRANSFER, _UNEXPECTED = "failed to transfer ", "unexpected error - "


def _outcome(stage: str, line: str) -> Outcome | None:
    """The outcome of `stage` that one line of DVC 3's output states; None for any other line."""
    if line in (f"Stage '{stage}' didn't change, skipping", f"'{stage}' didn't change, skipping"):
        return Outcome(stage, "unchanged", "nothing that it depends on has changed")
    if line == f"Stage '{stage}' is cached - skipping run, checking out outputs":
        return Outcome(stage, "restored", "the same inputs have run before: its outs come from DVC's cache")
    if line == f"Running stage '{stage}':" or line.startswith("Verifying data sources in stage: "):
        return Outcome(stage, "ran", "it ran")
    return None


def _failure(stage: str, lines: list[str], code: int) -> str:
    """The lines that matter: the stage's own ("clean: ..."), else the last it said; then DVC's."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    name = stage.rpartition(":")[2]
    own = [line for line in lines if line.startswith((f"{name}: ", f"{name.partition('@')[0]}: "))]
    if not own:
        said = [line for line in lines if not line.startswith(("ERROR: ", "Running stage ", "> "))]
        own = said[-1:] if errors and any("failed to run" in error for error in errors) else []
    dvc = "; ".join(errors) or f"dvc repro {stage} ended with exit code {code}: {lines[-1] if lines else 'no output'}"
    if re.search(r"exited with -9\b|exited with 137\b", dvc):
        dvc += " (killed; out of memory, perhaps)"
    return "\n".join([*own[-10:], dvc])
