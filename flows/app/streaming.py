"""POST /stream: what a model writes for one text, a line of JSON for each piece, as soon as it is certain.

A few texts are streamed at the same time, each by a thread that makes a piece when the one before was sent. Whose
client has gone is written no further.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from flows.app.ending import Ending
from flows.app.guarding import Handler, fault
from flows.app.limits import Limits, text_to_stream
from flows.app.metrics import Metrics
from flows.app.reading import Held, body_of
from flows.app.refusals import Refused, is_ending, is_late, is_slow, unwritable
from stages.core.contracts import UnwritableError

if TYPE_CHECKING:
    from stages.core.contracts import Generation

LINES = "application/x-ndjson"


class Streams:
    """The texts that are being streamed."""

    def __init__(self, stream: Callable[[str, Generation], Iterator[str]], limits: Limits) -> None:
        """stream(text, how) is called in a thread, and so is each step of what it returns."""
        self._stream, self._most, self._seconds = stream, limits.streams, limits.seconds
        self._threads = ThreadPoolExecutor(limits.streams, "stream")
        self.open = 0
        """How many there are now."""

    async def begin(self, text: str, how: Generation) -> Response:
        """The lines for a text, once its first piece is there.

        Raises Refused: 429 where too many texts are streamed already. Raises UnwritableError where nothing can be
        written for this one.
        """
        if self.open >= self._most:
            raise Refused(429, "too many texts are being streamed", "server", f"{self.open} texts", f"{self._most}",
                          "Ask again in a second, or at /predict.", {"Retry-After": "1"})  # fmt: skip
        self.open += 1
        begun = self._threads.submit(self._begun, text, how)
        try:
            pieces, first = await asyncio.wrap_future(begun)
        except asyncio.CancelledError:
            begun.add_done_callback(self._later(self._end))  # its thread goes on, if it has begun
            raise
        except BaseException:
            self._end()
            raise
        return _Streamed(self._lines(pieces, first), self._end)

    def _begun(self, text: str, how: Generation) -> tuple[Iterator[str], str | None]:
        pieces = self._stream(text, how)
        return pieces, next(pieces, None)

    @staticmethod
    def _later(call: Callable[[], None]) -> Callable[[object], object]:
        """A callback for a thread, which has the loop of now make the call."""
        loop = asyncio.get_running_loop()

        def called(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it what is counted
                loop.call_soon_threadsafe(call)

        return called

    def _end(self) -> None:
        self.open -= 1

    async def _lines(self, pieces: Iterator[str], piece: str | None) -> AsyncIterator[bytes]:
        written, until = "", asyncio.get_running_loop().time() + self._seconds
        try:
            while piece is not None:
                written += piece
                yield _line(piece=piece)
                if asyncio.get_running_loop().time() > until:
                    yield _line(**self._late(written).body())
                    return
                piece = await self._in_thread(next, pieces, None)
            yield _line(written=written)
        except Exception as error:
            yield _line(**fault(error).body())

    def _late(self, written: str) -> Refused:
        return Refused(503, "the text was not finished in time", "server", f"{len(written):,} characters",
                       f"a text in {self._seconds:g} seconds", "Ask for fewer tokens.")  # fmt: skip

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


class _Streamed(StreamingResponse):
    """An answer in lines, at whose end something is done, however it ends."""

    def __init__(self, lines: AsyncIterator[bytes], end: Callable[[], None]) -> None:
        super().__init__(lines, media_type=LINES)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


def _line(**members: Any) -> bytes:
    return f"{json.dumps(members, ensure_ascii=False)}\n".encode()


def streaming(
    streams: Streams, usual: Generation, limits: Limits, held: Held, ending: Ending, metrics: Metrics
) -> Handler:
    """The handler of POST /stream; `usual`: how is written where a request says nothing else."""

    async def stream(request: Request) -> Response:
        if ending.begun:
            raise is_ending()
        refused = is_slow
        try:
            async with asyncio.timeout(limits.seconds):
                body = await body_of(request, limits.bytes, held)
                text, how = text_to_stream(body, usual, limits)
                refused = is_late
                found = await streams.begin(text, how)
        except TimeoutError:
            raise refused(limits.seconds) from None
        except UnwritableError as error:
            raise unwritable(error, None) from None
        metrics.answered(1)
        return found

    return stream
