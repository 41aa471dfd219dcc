"""Processes forked from one that has loaded its libraries, which is most of the time that each would take by itself.

    this process ── the loaded one ── a keeper ── the fork
                      forks for each    hears      leads a session of its own, with pipes to this process
                      three files       its end

The loaded one ends when this process does: the kernel then closes the socket between them. Its program is
flows/dvc/loaded.py.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

# Elsewhere forks that do not start another program are not safe: macOS's own libraries may end them.
CAN_FORK = sys.platform == "linux"
NUMBER = 4  # bytes of a number that the other side writes
KILLED = -signal.SIGKILL
SECONDS = 0.1  # after which it is asked again whether a fork is still wanted


class Forked:
    """A fork, as `subprocess.Popen` has one that this process started: its input, its output, its end."""

    def __init__(self, pid: int, stdin: int, stdout: int, said: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb", buffering=0)
        self._said = said

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        if self.returncode is None and _has_said(self._said, 0.0):
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Wait for the exit code."""
        if self.returncode is None:
            code = _number(self._said)
            self.returncode = KILLED if code is None else code
        return self.returncode

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.wait()
        os.close(self._said)


class Loaded:
    """The process that is loaded, started by `command` in `folder`, and forks when asked."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        with theirs:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
            )

    def fork(self, wanted: Callable[[], bool]) -> Forked | None:
        """A fork that waits for its order, as soon as all is loaded.

        None where the loaded process has died, and where no fork is `wanted` any more, which is asked until there is
        one.
        """
        (their_in, our_in), (our_out, their_out), (said, their_said) = os.pipe(), os.pipe(), os.pipe()
        try:
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(self._control, [b"+"], [their_in, their_out, their_said])
        finally:
            for number in (their_in, their_out, their_said):
                os.close(number)
        while not _has_said(said, SECONDS) and wanted():
            pass
        pid = _number(said) if wanted() else None
        if pid is None or pid <= 0:  # none came to be; or it ended before it had said its own number
            for number in (our_in, our_out, said):
                os.close(number)
            return None
        return Forked(pid, our_in, our_out, said)

    def end(self) -> str:
        """End the loaded process, and give the last line that it said, if any; its forks go on."""
        self._process.kill()  # at once: it holds nothing that could be torn
        self._process.wait()
        self._control.close()
        with self._errors as errors:
            errors.seek(0)
            said = errors.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(said) if line.strip()), "")


def _has_said(file: int, seconds: float) -> bool:
    """Whether there is something to read from `file`, or its end, within so many seconds."""
    waiting = select.poll()  # `select.select` knows no file beyond the 1,024th
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _number(file: int) -> int | None:
    """The next number that the other side wrote; None where it is gone."""
    written = os.read(file, NUMBER)
    return int.from_bytes(written, "little", signed=True) if written else None
