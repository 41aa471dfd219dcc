"""A PostgreSQL as the database of the Prefect server, for a team; without one it is a file of SQLite.

Source of the details: Prefect 3.8.8, which takes it by SQLAlchemy and asyncpg.
"""

from __future__ import annotations

import asyncio

from flows.running.masking import masked

KIND = "postgresql+asyncpg"
SECONDS = 15.0  # for it to answer


def check(url: str, name: str) -> None:
    """Raise ValueError where `url`, which `name` holds, is not that of a PostgreSQL, ConnectionError where it refuses.

    No message has the password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        right = make_url(url).drivername == KIND
    except (ArgumentError, ValueError):
        right = False
    if not right:
        raise ValueError(
            f"{name} is no address of a PostgreSQL. Allowed: {KIND}://user:password@host/database; "
            f"or unset it, and the database is a file: unset {name}"
        )
    try:
        asyncio.run(asyncio.wait_for(_connect(url), SECONDS))
    except Exception as error:  # of asyncpg, of SQLAlchemy, of the network
        why = " ".join(str(error.__cause__ or error).split()) or f"no answer within {SECONDS:.0f} s"
        raise ConnectionError(f"{named(url)}, which {name} names, does not let this in: {masked(why)}") from None


async def _connect(url: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with engine.connect():
            pass
    finally:
        await engine.dispose()


def named(url: str) -> str:
    """The database for people, without user and password: "PostgreSQL at db.example.org:5432/prefect"."""
    from sqlalchemy.engine import make_url

    found = make_url(url)
    return f"PostgreSQL at {found.host or 'localhost'}:{found.port or 5432}/{found.database}"
