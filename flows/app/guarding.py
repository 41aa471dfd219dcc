"""What stands around every request: who may ask, headers that keep a browser safe, the count, the line in the log."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.app.ending import Ending
from flows.app.hosts import is_known
from flows.app.limits import shortened
from flows.app.metrics import Metrics
from flows.app.refusals import Refused

LOG = logging.getLogger("winnow.app")
POLICY = b"content-security-policy"
HEADERS = [
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"), (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
]  # fmt: skip
NOTHING = (POLICY, b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
UNKNOWN = "other"
Handler = Callable[[Request], Awaitable[Response]]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Guard:
    """The application, guarded."""

    application: ASGIApp
    direct: Mapping[tuple[str, str], Handler]
    """By method and path, handlers that are called past the application: its layers take longer than they do."""
    paths: Collection[str]
    """Those that the application has: any other is `other` in the log and the metrics."""
    hosts: Collection[str]
    remote: bool
    ending: Ending
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        started, status, is_read = time.perf_counter(), 500, False
        # Who asks for the head alone gets that of the whole answer (RFC 9110, 9.3.2); the server leaves out the rest.
        as_asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope

        async def receiving() -> Message:
            nonlocal is_read
            is_read = True
            return await receive()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # A client that waits to be asked for its body may send it now as well: it is no next request.
                is_out_of_step = not is_read and any(name == b"expect" for name, _ in scope["headers"])
                message["headers"] = [*message["headers"], *self._more_headers(message["headers"], is_out_of_step)]
            await send(message)

        self.ending.held += 1
        try:
            with contextlib.suppress(Exception):  # of which client and log have been told: uvicorn would tell more
                await self._answer(as_asked, receiving, sending)
        finally:
            self.ending.held -= 1
            path = scope["path"] if scope["path"] in self.paths else UNKNOWN
            self._tell(scope["method"], path, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self.direct.get((scope["method"], scope["path"]))
        answer: ASGIApp = self.application
        if refused := self._refused(scope):
            answer = refused.response()
        elif handler:
            try:
                answer = await handler(Request(scope, receive))
            except Refused as error:
                answer = error.response()
            except Exception as error:
                answer = fault(error).response()
        await answer(scope, receive, send)

    def _refused(self, scope: Scope) -> Refused | None:
        found = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(found) == 1 and is_known(found[0], self.hosts, remote=self.remote):
            return None
        return Refused(
            400, "the server is not called so", "header Host", shortened(found[0]) if found else "no such header",
            ", ".join(["localhost", "127.0.0.1", *(["every address in numbers"] if self.remote else []), *self.hosts]),
            "Use such an address, or start the server with --allowed-host NAME.",
        )  # fmt: skip

    def _more_headers(self, headers: Headers, is_out_of_step: bool) -> Headers:
        more = HEADERS if any(name == POLICY for name, _ in headers) else [*HEADERS, NOTHING]
        closes = self.ending.begun or is_out_of_step
        has_it = any(name == b"connection" for name, _ in headers)
        return [*more, (b"connection", b"close")] if closes and not has_it else more

    def _tell(self, method: str, path: str, status: int, seconds: float) -> None:
        self.metrics.request(path, status, seconds)
        LOG.info("%s %s %d %.1f ms", method if method.isalpha() else "?", path, status, seconds * 1000)


def fault(error: Exception) -> Refused:
    """What a fault of the program is told as. Its message may hold texts: it goes to the log alone, and when asked."""
    shown = error if os.environ.get("WINNOW_DEBUG") else None
    LOG.error("a request failed: %s", type(error).__name__, exc_info=shown)
    return Refused(500, "a fault of the server", "server", type(error).__name__, "none",
                   "Its log says more with WINNOW_DEBUG=1.")  # fmt: skip
