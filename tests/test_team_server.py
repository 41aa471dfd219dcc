"""The Prefect server of a team, with a real PostgreSQL as its database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import postgres_fixtures
import pytest
from postgres_fixtures import PASSWORD
from prefect.states import Completed
from serving_fixtures import Server, client_of, ends_as, free_port

from flows.serving import databases
from flows.serving.server import DATABASE_VARIABLE, start_server

postgres = postgres_fixtures.postgres


def test_runs_are_kept_in_postgresql_where_one_setting_names_it_and_outlive_the_server(postgres: str, tmp_path: Path):
    server = Server(tmp_path / "store", tmp_path / "log", free_port(), tmp_path / "home", {DATABASE_VARIABLE: postgres})
    try:
        server.start()
        with client_of(server, tmp_path):
            run = ends_as("kept", Completed(message="by a team"))
        server.end()
        server.start()
        with client_of(server, tmp_path) as client:
            assert client.read_flow_run(run).state.message == "by a team"
    finally:
        server.end()
    assert asyncio.run(names_in(postgres, run)) == ["kept"]
    assert not (server.folder / "prefect.db").exists()
    said = server.log.read_text()
    assert f"Its database is PostgreSQL at {postgres.partition('@')[2]}.\n" in said
    files = [server.log, *(path for path in server.folder.rglob("*") if path.is_file())]
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


async def names_in(postgres: str, run: UUID) -> list[str]:
    """The names of the flows of that run, as the database itself has them."""
    import asyncpg

    connection = await asyncpg.connect(postgres.replace("+asyncpg", ""))
    try:
        query = "select flow.name from flow join flow_run on flow.id = flow_run.flow_id where flow_run.id = $1"
        return [row["name"] for row in await connection.fetch(query, run)]
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("was", "instead", "why"),
    [
        (PASSWORD, "wr0ng-p4ss", 'password authentication failed for user "winnow"'),
        ("/prefect", "/nowhere", 'database "nowhere" does not exist'),
    ],
)
def test_a_database_that_lets_nobody_in_is_one_line_without_the_password(
    postgres: str, was: str, instead: str, why: str
):
    with pytest.raises(ConnectionError) as caught:
        databases.check(postgres.replace(was, instead), DATABASE_VARIABLE)
    place = postgres.replace(was, instead).partition("@")[2]
    assert str(caught.value) == f"PostgreSQL at {place}, which {DATABASE_VARIABLE} names, does not let this in: {why}"


def test_a_database_that_does_not_answer_is_one_line_and_no_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = f"127.0.0.1:{free_port()}/prefect"
    monkeypatch.setenv(DATABASE_VARIABLE, f"postgresql+asyncpg://winnow:{PASSWORD}@{place}")
    with pytest.raises(ConnectionError, match=f"^PostgreSQL at {place}, .* does not let this in: ") as caught:
        start_server(tmp_path / "store", free_port())
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "url",
    ["sqlite+aiosqlite:///prefect.db", f"postgresql://winnow:{PASSWORD}@db/prefect", "db.example.org", f"x{PASSWORD}"],
)
def test_an_address_of_something_else_is_refused_with_what_is_allowed(url: str):
    with pytest.raises(ValueError, match=r"is no address of a PostgreSQL\. Allowed: postgresql\+asyncpg://") as caught:
        databases.check(url, DATABASE_VARIABLE)
    assert PASSWORD not in str(caught.value)
