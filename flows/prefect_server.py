"""The process that `winnow server` becomes: Prefect's server, which says where it is as soon as it answers."""

from __future__ import annotations

import contextlib
import socket
import sys

import click
import uvicorn

GRACE_SECONDS = 3


class Server(uvicorn.Server):
    """uvicorn's own line stays away: Prefect sets its log to warnings."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:  # the database is migrated, the port is open
            click.echo(f"Prefect's server answers at http://{self.config.host}:{self.config.port}. Ctrl-C ends it.")


def main(host: str, port: int) -> None:
    """Serve until a signal ends it; exit with 3, as uvicorn does, where it cannot start."""
    application = "prefect.server.api.server:create_app"
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
