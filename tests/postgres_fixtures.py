"""A real PostgreSQL, on loopback, for tests; fixtures, to be named in the module that uses them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_fixtures import free_port

USER, PASSWORD, DATABASE = "winnow", "s3cr3t-7d21", "prefect"
DEBIAN = "/usr/lib/postgresql"  # holds a folder a version, which is not on PATH
ACCOUNT = "postgres"  # as which root runs it: PostgreSQL refuses to be root's


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL with an empty database, as SQLAlchemy writes it for asyncpg."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    # Not beneath pytest's folders, which it keeps to its own user.
    folder, port = Path(tempfile.mkdtemp(prefix="winnow-postgres-")), free_port()
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORD)
    if os.getuid() == 0:
        for path in (folder, password):
            shutil.chown(path, ACCOUNT, ACCOUNT)
    initdb = ["initdb", "-D", str(data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
    _run(programs, *initdb, "--encoding=UTF8", "--locale=C.UTF-8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    _run(programs, "pg_ctl", "-D", str(data), "-o", options, "-l", str(data / "log"), "-w", "start")
    try:
        where = ["-h", "127.0.0.1", "-p", str(port), "-U", USER]
        _run(programs, "createdb", *where, DATABASE, PGPASSWORD=PASSWORD)
        yield f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}"
    finally:
        _run(programs, "pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs, where there is one, and somebody to run them."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path(DEBIAN).glob("*/bin"))
    if os.getuid() == 0 and ACCOUNT not in {entry.pw_name for entry in pwd.getpwall()}:
        return None
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _run(programs: Path, name: str, *arguments: str, **more: str) -> None:
    account = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run(
        [str(programs / name), *arguments], cwd="/", env={**os.environ, "HOME": "/", "LC_ALL": "C.UTF-8", **more},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120, **account,  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
