"""The password of the Prefect server of this machine: random, one for each port, in a file that only its user can read.

It is on no command line and in no log, but in the environment of the server, of `winnow` and of its children.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = "~/.winnow"
FILE_VARIABLE = "WINNOW_PASSWORD_FILE"  # tells the server's process which file to name
USER = "winnow"
LOOPBACK = ("127.0.0.1", "localhost")


def password_file(port: int) -> Path:
    """The file with the "user:password" of the server at that port of this machine."""
    return Path(FOLDER).expanduser() / f"password-{port}"


def made(port: int) -> str:
    """The "user:password" of the server at that port; created where there is none yet."""
    path = password_file(port)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return _read(path)
    with os.fdopen(number, "w", encoding="ascii") as file:
        file.write(f"{at_random()}\n")
    return _read(path)


def at_random() -> str:
    """A new random "user:password"."""
    return f"{USER}:{secrets.token_urlsafe(24)}"


def kept(url: str) -> str | None:
    """The stored "user:password" of the server at that address, if it is on this machine and has one.

    To other hosts it is never sent. Raises PermissionError where others could read or write the file.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host not in LOOPBACK or port is None or not password_file(port).is_file():
        return None
    return _read(password_file(port))


def _read(path: Path) -> str:
    """Raises PermissionError for a file of somebody else's, or that others may open; ValueError for an empty one."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{path} can be opened by others, or is not yours. Remove it, and start the server again."
        )
    words = path.read_text(encoding="ascii").strip()
    if ":" not in words:
        raise ValueError(f"{path} holds no user:password. Remove it, and start the server again.")
    return words
