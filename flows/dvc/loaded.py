"""DVC with everything loaded that `dvc repro` needs: it waits for an order, or with `--forks` forks for each.

Run by its path, as the project may have another version of this package: it imports nothing of it. The other side, and
what the numbers mean, is in flows/running/forked.py. It ends with who started it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import dvc.cli
import dvc.commands.repro
import dvc.output
import dvc.repo.reproduce
import dvc.stage.cache
import dvc.stage.run
from dvc.utils.serialize import _yaml

NUMBER = 4  # bytes
LOCK = "dvc.lock"


def main() -> None:
    """Run DVC as the first line of standard input says.

    With `--forks`, standard input is a socket by which files come, three each time: fork for these, and in the fork
    take the first of them as standard input.
    """
    if "--forks" in sys.argv:
        with _control() as control:
            gc.freeze()  # pages that no fork writes to are shared
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
            while not _forked(control):
                pass
    arguments = json.loads(sys.stdin.readline() or "[]")
    read_locks_quickly()
    sys.argv = ["dvc", *arguments]  # whom DVC names where its lock is taken
    sys.exit(dvc.cli.main(arguments) if arguments else 0)


def read_locks_quickly() -> None:
    """Have DVC read dvc.lock five times as fast where it is to write a stage into it, with the same bytes written.

    It reads the file as one whose comments are to stay, which takes half a second for the 8,000 lines of a project. A
    lock has no comments; one that may have some, by a person, is read as ever.
    """
    as_ever = _yaml.parse_yaml_for_update

    def parsed(text: str, path: str) -> Any:
        is_plain = Path(path).name == LOCK and "#" not in text
        return _yaml.parse_yaml(text, path) if is_plain else as_ever(text, path)

    _yaml.parse_yaml_for_update = parsed


def _control() -> socket.socket:
    """The socket that was standard input, which no fork keeps: who started this sees by its other end that it died."""
    control = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return control


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
