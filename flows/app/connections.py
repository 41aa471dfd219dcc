"""A connection whose client keeps it waiting is ended: for a head that does not come, for an answer that is not taken.

uvicorn's own timer runs only between two requests, and stops at the first byte of the next.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD, ROOM, END = "a head", "room to write", "the end"  # what is waited for


class Connection(H11Protocol):
    """uvicorn's connection, which waits for its client `patience` seconds at most; what a request may take is apart."""

    patience: ClassVar[float]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's signature
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wait_for(HEAD)

    def data_received(self, data: bytes) -> None:
        """Take what came: with it a head ends, or there is one more to wait for."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._has_come(HEAD)
        else:
            self._wait_for(HEAD)
        self._close_in_time()

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what was written."""
        super().pause_writing()
        self._wait_for(ROOM)

    def resume_writing(self) -> None:
        """The client took most of it."""
        super().resume_writing()
        self._has_come(ROOM)

    def on_response_complete(self) -> None:
        """The answer was written."""
        super().on_response_complete()
        self._close_in_time()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for long enough."""
        super().timeout_keep_alive_handler()
        self._close_in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        for what in (HEAD, ROOM, END):
            self._has_come(what)

    def _close_in_time(self) -> None:
        """Closing waits until all is sent, and so for ever where nobody reads."""
        if self.transport.is_closing():
            self._wait_for(END)

    def _wait_for(self, what: str) -> None:
        if what not in self._timers:
            self._timers[what] = self.loop.call_later(self.patience, self.transport.abort)

    def _has_come(self, what: str) -> None:
        if what in self._timers:
            self._timers.pop(what).cancel()


def with_patience(seconds: float) -> type[Connection]:
    """Connections that wait for their clients so long."""
    return type("Connection", (Connection,), {"patience": seconds})
