"""The child processes of a run, started and ended as groups, whatever happens to the run itself.

Where this process is killed, a guard ends the groups that it had started: `python -m flows.running.processes`, with the
groups to watch on its standard input, which the kernel closes when the last holder of the other end is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TypeVar

import psutil

from flows.running.console import over
from flows.running.forked import Forked
from flows.running.signals import ending_signals_raise

Process = TypeVar("Process", bound=subprocess.Popen[bytes] | Forked)
GRACE_SECONDS = 10.0
KILL_SECONDS = 2.0  # for the kernel to end killed processes


class Children:
    """The child processes of one run: started together, ended together, and none started after that.

    A guard, itself a process, ends them where this process dies without a word (SIGKILL, out of memory).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[int] = set()
        self._ended = False
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def start(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        output: int | None = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start `command` with a process group of its own.

        Its output is in its `stdout`; with `output` None, it goes where this process's goes.
        """
        with self._lock:
            self._refuse_if_ended()
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=stdin,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                start_new_session=True,
            )
            self._watch(process.pid)
        return process

    def adopt(self, process: Forked) -> Forked:
        """Take a fork, which leads a group of its own, as a child. Raises EndedError after `end`."""
        with self._lock:
            self._refuse_if_ended()
            self._watch(process.pid)
        return process

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise EndedError("not started: the run is being ended")

    def _watch(self, pid: int) -> None:
        self._alive.add(pid)
        self._tell(f"+{pid}")

    @contextlib.contextmanager
    def until_left(self, process: Process) -> Iterator[Process]:
        """End the child, with its group, when the block is left."""
        try:
            with process:
                try:
                    yield process
                finally:
                    end_group(process.pid)
        finally:
            with self._lock:
                self._alive.discard(process.pid)
                self._tell(f"-{process.pid}")

    def end(self) -> None:
        """End every child with all processes that it started, and let no other start."""
        with self._lock:
            self._ended = True
            alive = list(self._alive)
        for pid in alive:
            end_group(pid)
        with self._lock:
            guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate()

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._ended

    def _tell(self, line: str) -> None:
        """Tell the guard, which is started with the first child."""
        if self._guard is None:
            if self._ended:
                return
            # -P: no file of the project can stand in for a module. The environment is this process's own.
            self._guard = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.write(f"{line}\n".encode())
            self._guard.stdin.flush()


class EndedError(RuntimeError):
    """A child was to start after the run had been ended."""


def guard() -> None:
    """Read "+PID" and "-PID" from standard input; when it closes, end the groups that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what ends the run must not end its guard first
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        end_group(group)


def end_group(leader: int, grace: float = GRACE_SECONDS) -> None:
    """End the process group that the process `leader` leads, and its descendants; after `grace` seconds by SIGKILL.

    The processes that the leader started are ended first. DVC then releases its locks and ends by itself; a signal
    during that would leave them torn, so it gets one only where it is slow, or has nothing running.
    """
    now = time.monotonic()
    deadline, patience = now + grace, now
    signalled: set[psutil.Process] = set()
    try:
        while (members := _members(leader, signalled)) and time.monotonic() < deadline:
            started = {member for member in members if member.pid != leader}
            _send(started - signalled, signal.SIGTERM)
            signalled |= started
            if started:
                patience = time.monotonic() + grace / 4
            elif time.monotonic() >= patience:
                # An interrupt lets DVC clean up, but jobs in the background ignore it: hence the second.
                _send(members, signal.SIGTERM if members <= signalled else signal.SIGINT)
                signalled |= members
                patience = time.monotonic() + grace / 4
            time.sleep(0.05)
    finally:
        # Also where a second Ctrl-C cuts the grace period short.
        killed = _members(leader, signalled)
        _send(killed, signal.SIGKILL)
        dead_by = time.monotonic() + KILL_SECONDS
        while any(map(_runs, killed)) and time.monotonic() < dead_by:
            time.sleep(0.01)  # the kernel takes its time, and the caller relies on them being gone


def _members(leader: int, known: set[psutil.Process]) -> set[psutil.Process]:
    """The running processes among `known` and in the group of `leader`, and their descendants, even outside the group.

    A process that left it (torchrun's do) is lost when its parent ends, unless it is `known`.
    """
    found = {member for member in known if _runs(member)}
    for candidate in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(candidate.pid) == leader and _runs(candidate):
                found.add(candidate)
    for member in list(found):
        with contextlib.suppress(psutil.Error):
            found.update(child for child in member.children(recursive=True) if _runs(child))
    return found


def _runs(member: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(member.is_running() and member.status() != psutil.STATUS_ZOMBIE)
    return False


def _send(members: Iterable[psutil.Process], number: int) -> None:
    for member in members:
        with contextlib.suppress(psutil.Error):
            member.send_signal(number)


@contextlib.contextmanager
def ended_says(message: str) -> Iterator[None]:
    """Have a signal that ends the block tell the user how to go on; `winnow` shows the message as its last line."""
    try:
        with ending_signals_raise(), ends_quietly():
            yield
    except (KeyboardInterrupt, SystemExit) as ended:
        raise _told(ended, message) from None


@contextlib.contextmanager
def ends_quietly() -> Iterator[None]:
    """Have nothing more of Prefect's log shown once a signal ends the block; only in the main thread.

    A flow says it once more, as Prefect has a handler of its own for SIGTERM there.
    """
    replaced: dict[int, Callable[[int, FrameType | None], object]] = {}

    def end(number: int, frame: FrameType | None) -> None:
        over()
        replaced[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(number)
            if callable(handler):  # not where it is ignored, as by jobs in the background
                replaced[number] = handler
                signal.signal(number, end)
    try:
        yield
    finally:
        for found, handler in replaced.items():
            signal.signal(found, handler)


def _told(ended: KeyboardInterrupt | SystemExit, message: str) -> KeyboardInterrupt | SystemExit:
    if isinstance(ended, KeyboardInterrupt):
        return KeyboardInterrupt(message)
    again = SystemExit(ended.code)
    again.add_note(message)
    return again


if __name__ == "__main__":
    guard()
