"""What stands around every request: who may ask, headers that keep a browser safe, the count, the line in the log."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.app.ending import Ending
from flows.app.hosts import is_known
from flows.app.limits import shortened
from flows.app.metrics import Metrics
from flows.app.refusals import Refused

LOG = logging.getLogger("winnow.app")
HEADERS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
UNKNOWN = "other"


@dataclass(frozen=True)
class Guard:
    """The application, guarded."""

    application: ASGIApp
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
        started, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message))
            await send(message)

        self.ending.held += 1
        try:
            refused = self._refused(scope)
            with contextlib.suppress(Exception):  # of which client and log have been told: uvicorn would tell more
                await (refused.response() if refused else self.application)(scope, receive, sending)
        finally:
            self.ending.held -= 1
            path = scope["path"] if scope["path"] in self.paths else UNKNOWN
            self._tell(scope["method"], path, status, time.perf_counter() - started)

    def _refused(self, scope: Scope) -> Refused | None:
        found = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(found) == 1 and is_known(found[0], self.hosts, remote=self.remote):
            return None
        return Refused(
            400, "the server is not called so", "header Host", shortened(found[0]) if found else "no such header",
            ", ".join(["localhost", "127.0.0.1", *(["every address in numbers"] if self.remote else []), *self.hosts]),
            "Use such an address, or start the server with --allowed-host NAME.",
        )  # fmt: skip

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers[name] = value
        headers.setdefault("Content-Security-Policy", POLICY)
        if self.ending.begun:
            headers["Connection"] = "close"

    def _tell(self, method: str, path: str, status: int, seconds: float) -> None:
        self.metrics.request(path, status, seconds)
        LOG.info("%s %s %d %.1f ms", method if method.isalpha() else "?", path, status, seconds * 1000)
