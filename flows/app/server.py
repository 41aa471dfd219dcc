"""The server around the application: its port, its log, and its end by a signal."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from flows.app.connections import with_patience
from flows.app.ending import Ending
from flows.app.guarding import LOG

SENDING = 5  # seconds that are left for answers on their way, once nothing else is held
CONNECTIONS = 1000


class _Server(uvicorn.Server):
    """uvicorn's server, whose end by a signal begins with a refusal of new requests."""

    def __init__(self, config: uvicorn.Config, ending: Ending) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        self._ending.signal()
        self.force_exit = self._ending.at_once


def listening(host: str, port: int) -> socket.socket:
    """A socket at that address, of TCP; port 0 is any that is free. Raises ValueError where it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ValueError(f"{host!r} is no address and no known name. Choose another --host.") from None
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
        opened.listen(2048)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} of {host} is in use. Stop what uses it, or choose another --port.") from None
        why = os.strerror(error.errno or 0)
        raise ValueError(f"{host} port {port}: {why}. Choose another --host or --port.") from None
    return opened


def url_of(opened: socket.socket) -> str:
    """Where a socket listens, as a browser takes it."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(application: ASGIApp, opened: socket.socket, ending: Ending, *, seconds: float, log: bool) -> bool:
    """Serve until SIGTERM or SIGINT: whether everything that was held then was answered.

    `seconds`: a request may take them, from its head to its answer; so may the head, and the reading of the answer.
    From the signal on, new requests get 503. What is held has these seconds and SENDING, or until a second signal.
    `log`: a line for each request on stderr, without its content. Raises what kept the server from starting.
    """
    _log_to_stderr(logging.INFO if log else logging.WARNING)
    # h11 is slower than httptools, and bounds the head of a request, which uvicorn's httptools does not.
    config = uvicorn.Config(
        application, loop="asyncio", http=with_patience(seconds), ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, limit_concurrency=CONNECTIONS,
        timeout_keep_alive=75, timeout_graceful_shutdown=SENDING, use_colors=False,
    )  # fmt: skip
    server = _Server(config, ending)

    async def until_ended() -> bool:
        serving = asyncio.create_task(server.serve(sockets=[opened]))
        draining = asyncio.create_task(ending.drained(seconds + SENDING))
        await asyncio.wait({serving, draining}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving  # raises where it failed, and the other task is cancelled with the loop
        return await draining

    return asyncio.run(until_ended())


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for logger in (LOG, logging.getLogger("uvicorn")):
        logger.addHandler(handler)
        logger.propagate = False
    LOG.setLevel(level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
