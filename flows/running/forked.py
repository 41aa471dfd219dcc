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
from collections.abc import Mapping
from pathlib import Path

NUMBER = 4  # bytes of a number that the other side writes
KILLED = -signal.SIGKILL


class Forked:
    """A fork, as `subprocess.Popen` has one that this process started: its input, its output, its end."""

    def __init__(self, pid: int, stdin: int, stdout: int, said: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb", buffering=0)
        self._said = said

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        if self.returncode is None and select.select([self._said], [], [], 0)[0]:
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
        with theirs:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def fork(self) -> Forked | None:
        """A fork that waits for its order, as soon as all is loaded; None where the loaded process has died."""
        (their_in, our_in), (our_out, their_out), (said, their_said) = os.pipe(), os.pipe(), os.pipe()
        try:
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(self._control, [b"+"], [their_in, their_out, their_said])
        finally:
            for number in (their_in, their_out, their_said):
                os.close(number)
        pid = _number(said)
        if pid is None:
            for number in (our_in, our_out, said):
                os.close(number)
            return None
        return Forked(pid, our_in, our_out, said)

    def end(self) -> None:
        """End the loaded process; its forks go on."""
        self._process.terminate()
        self._process.wait()
        self._control.close()


def _number(file: int) -> int | None:
    """The next number that the other side wrote; None where it is gone."""
    written = os.read(file, NUMBER)
    return int.from_bytes(written, "little", signed=True) if written else None
