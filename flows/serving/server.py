"""The Prefect server of this machine: its start, on loopback alone, and how clients find it.

Source of the details: Prefect 3.8.8.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from flows.serving import databases, passwords

# Prefect is imported inside the functions: `connect` decides about its settings.
HOST = "127.0.0.1"
PORT = 4200
FILES_OF_MANY = ("pyproject.toml", ".env")  # in which Prefect looks for its settings too
DATABASE_VARIABLE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


def start_server(folder: Path, port: int = PORT) -> NoReturn:
    """Become Prefect's server, on loopback alone; database, leases and all else in `folder`, which is created.

    The database is a file there, or the PostgreSQL that PREFECT_SERVER_DATABASE_CONNECTION_URL names. The process is
    replaced, so that a signal reaches the server itself and nothing is left behind; it says its address when it
    answers. It asks for the "user:password" of PREFECT_SERVER_API_AUTH_STRING, or else for one made at random and kept
    (see `passwords`). Raises ValueError where the port is taken, the password has no user, or the database is no
    PostgreSQL; ConnectionError where that does not answer.
    """
    password = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    if password and ":" not in password:
        raise ValueError("PREFECT_SERVER_API_AUTH_STRING has no colon. Allowed: user:password.")
    _check_port(port)
    if given := os.environ.get(DATABASE_VARIABLE):
        databases.check(given, DATABASE_VARIABLE)
    secret = {} if password else {
        "PREFECT_SERVER_API_AUTH_STRING": passwords.made(port),
        passwords.FILE_VARIABLE: str(passwords.password_file(port)),
    }  # fmt: skip
    folder = folder.expanduser().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "flows.serving.prefect_server", HOST, str(port)]
    sys.stdout.flush()
    os.execve(sys.executable, command, _server_environment(folder, port) | secret)  # noqa: S606


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise ValueError(
                f"port {port} of {HOST} is in use, perhaps by a Prefect server that runs already. "
                "Stop that one, or choose another port."
            ) from None


def _server_environment(folder: Path, port: int) -> dict[str, str]:
    """The environment of the server: the caller's, without variables that would redirect it."""
    here = f"http://{HOST}:{port}"
    elsewhere = {"PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_DATABASE_CONNECTION_URL"}
    mine = {name: value for name, value in os.environ.items() if name not in {*elsewhere, passwords.FILE_VARIABLE}}
    return {
        **mine,
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(folder),
        DATABASE_VARIABLE: os.environ.get(DATABASE_VARIABLE) or f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        # In memory they would be lost when the server ends, and slots of dead runs never be freed.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # A page in the user's browser can reach loopback; it must not start runs.
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": here,
        "PREFECT_UI_URL": here,
        "PREFECT_SERVER_UI_API_URL": f"{here}/api",
    }


def may_be_found() -> bool:
    """Whether `connect` could find a server, told without Prefect, which takes a second to load; True where in doubt.

    An address may come from the environment, from files in which Prefect looks for its settings, or be the usual one.
    """
    named = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")
    if any(value for name, value in os.environ.items() if name.upper() in named):
        return True
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    try:
        if (home / "profiles.toml").exists() or Path("prefect.toml").exists():
            return True
        if any(b"prefect" in file.read_bytes().lower() for file in map(Path, FILES_OF_MANY) if file.is_file()):
            return True
    except OSError:  # a file that cannot be read
        return True
    with contextlib.suppress(OSError), socket.create_connection((HOST, PORT), timeout=1):
        return True
    return False


class OtherPasswordError(PermissionError):
    """A Prefect server answers, but wants another password: it may belong to somebody else."""


def connect() -> str:
    """The address of the API: PREFECT_API_URL (or Prefect's profile), else the server on this machine.

    Prefect's clients use it from here on, in this process and its children; without a password of the environment's or
    the profile's, with the one that `winnow server` has made.
    Raises ConnectionError where none answers there, OtherPasswordError where it wants another password.
    """
    # Prefect takes an empty address for one; the user means none.
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        if not os.environ.get(name):
            os.environ.pop(name, None)
    if password := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        os.environ.setdefault("PREFECT_API_AUTH_STRING", password)
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    refresh_global_settings_context()
    chosen = get_current_settings().api.url
    named_by = _named_by() if chosen else None
    url = chosen or f"http://{HOST}:{PORT}/api"
    set_here = {} if chosen else {"PREFECT_API_URL": url}
    if get_current_settings().api.auth_string is None and (password := passwords.kept(url)):
        set_here["PREFECT_API_AUTH_STRING"] = password
    os.environ.update({**set_here, "PREFECT_API_URL": url})
    refresh_global_settings_context()
    try:
        _call(url, named_by)
    except (ConnectionError, OtherPasswordError):
        for name in set_here:  # a later call must look anew
            del os.environ[name]
        refresh_global_settings_context()
        raise
    return url


def guard_temporary_server() -> None:
    """Have Prefect's temporary server ask for a password, which only this process and its children know."""
    from prefect.context import refresh_global_settings_context

    password = passwords.at_random()
    os.environ.update({"PREFECT_SERVER_API_AUTH_STRING": password, "PREFECT_API_AUTH_STRING": password})
    refresh_global_settings_context()


def _named_by() -> str:
    """A phrase on where the address of the API is set, and how to unset it there."""
    from prefect.context import get_settings_context
    from prefect.settings import PREFECT_API_URL

    if os.environ.get("PREFECT_API_URL"):
        return "which PREFECT_API_URL names. Unset it: unset PREFECT_API_URL"
    profile = get_settings_context().profile
    if PREFECT_API_URL in profile.settings:
        found = f"which Prefect's profile '{profile.name}' names ({profile.source})"
        return f"{found}. Take it out: prefect config unset --yes PREFECT_API_URL"
    return "which Prefect's settings name. See which: prefect config view --show-sources"


def _call(url: str, named_by: str | None) -> None:
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            client.read_flows(limit=1)
    except (httpx.HTTPStatusError, PrefectHTTPStatusError) as error:
        if error.response.status_code == httpx.codes.UNAUTHORIZED:
            raise OtherPasswordError(
                f"the Prefect server at {url} wants another password. Set PREFECT_API_AUTH_STRING to its user:password."
            ) from None
        raise ConnectionError(_no_server(url, named_by)) from error
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, ValueError) as error:
        raise ConnectionError(_no_server(url, named_by)) from error


def _no_server(url: str, named_by: str | None) -> str:
    if named_by is None:
        return f"no Prefect server answers at {url}. Start one: winnow server"
    return f"no Prefect server answers at {url}, {named_by}; or start {_what_to_start(url)}"


def _what_to_start(url: str) -> str:
    """A phrase for the server to start: with its command where the address is on this machine, else "that server"."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host not in (HOST, "localhost") or port is None:
        return "that server"
    return "one there: winnow server" + (f" --port {port}" if port != PORT else "")
