"""DVC with everything loaded that `dvc repro` needs: it forks for each order, and ends with who started it.

Run by its path, as the project may have another version of this package: it imports nothing of it. The other side, and
what the numbers mean, is in flows/running/forked.py.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

import dvc.cli
import dvc.commands.repro
import dvc.output
import dvc.repo.reproduce
import dvc.stage.cache
import dvc.stage.run

NUMBER = 4  # bytes


def main() -> None:
    """Fork for each three files that come by standard input; in a fork, run DVC as the first line of the first says."""
    with socket.socket(fileno=os.dup(0)) as control:
        gc.freeze()  # pages that no fork writes to are shared
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
        while not _forked(control):
            pass
    arguments = json.loads(sys.stdin.readline() or "[]")
    sys.exit(dvc.cli.main(arguments) if arguments else 0)


def _forked(control: socket.socket) -> bool:
    """Fork once, when asked; returns True in the fork, and False in this process."""
    asked, files, _, _ = socket.recv_fds(control, 1, 3)
    if not asked:
        sys.exit(0)
    if os.fork() == 0:
        control.close()
        _keep(*files)
        return True
    for number in files:
        os.close(number)
    return False


def _keep(stdin: int, output: int, told: int) -> None:
    """Fork, and tell how the fork ends; returns in the fork alone, which has told its number."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        os.close(stdin)
        os.close(output)
        _tell(told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.setsid()
    for number, place in ((stdin, 0), (output, 1), (output, 2)):
        os.dup2(number, place)
    for number in (stdin, output):
        os.close(number)
    _tell(told, os.getpid())
    os.close(told)


def _tell(told: int, number: int) -> None:
    os.write(told, number.to_bytes(NUMBER, "little", signed=True))


if __name__ == "__main__":
    main()
