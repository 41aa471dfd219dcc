"""The process that `winnow server` becomes: Prefect's server, which reports its address as soon as it answers.

Prefect answers whatever host name it is called by, so a web page whose name is made to resolve to 127.0.0.1 (DNS
rebinding) counts as its own; and CORS keeps answers from pages of other origins, but no requests from the server.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys

import click
import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.serving.databases import KIND, named
from flows.serving.passwords import FILE_VARIABLE
from flows.serving.server import DATABASE_VARIABLE

GRACE_SECONDS = 3
OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.I)  # any port
REFUSED = "Refused: this server answers at 127.0.0.1 and localhost alone, and to its own pages.\n"


class ThisMachineOnly:
    """Middleware that accepts only requests for this machine by name, and from no page but the server's own.

    Programs send no Origin; browsers do with every request that could change something, and with web sockets.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _is_ours(Headers(scope=scope)):
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            await PlainTextResponse(REFUSED, status_code=403)(scope, receive, send)


def _is_ours(headers: Headers) -> bool:
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    return (
        len(hosts) == 1
        and OWN_HOST.fullmatch(hosts[0]) is not None
        and all(origin == f"http://{hosts[0]}" for origin in origins)
    )


def application() -> ASGIApp:
    """Prefect's server behind that middleware."""
    from prefect.server.api.server import create_app

    return ThisMachineOnly(create_app())


class Server(uvicorn.Server):
    """uvicorn's server, whose own start-up line stays away: Prefect sets its log to warnings."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:  # the database is migrated, the port is open
            click.echo(f"Prefect's server answers at http://{self.config.host}:{self.config.port}. Ctrl-C ends it.")
            database = os.environ.get(DATABASE_VARIABLE, "")
            if database.startswith(KIND):
                click.echo(f"Its database is {named(database)}.")
            if kept := os.environ.get(FILE_VARIABLE):
                click.echo(f"Its pages ask for what is in {kept}; commands of this user read it themselves.")


def main(host: str, port: int) -> None:
    """Serve until a signal ends it; exit with 3, as uvicorn does, where it cannot start."""
    config = uvicorn.Config(
        application, factory=True, host=host, port=port, access_log=False, timeout_graceful_shutdown=GRACE_SECONDS
    )
    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
