"""The body of a request, within limits."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from flows.app.limits import shortened
from flows.app.refusals import Refused

JSON = "application/json"
READ_ON = 64 * 1024 * 1024  # bytes of a body that is too large: who is cut off while sending may never read why


@dataclass
class Held:
    """The bytes of all bodies that are being read."""

    most: int
    bytes: int = 0


async def body_of(request: Request, most: int, held: Held) -> bytes:
    """The body, of `most` bytes at most.

    Raises Refused: 415 where it is not announced as JSON, 413 where it is larger, 429 where others hold too much. What
    is refused is read on, and not held.
    """
    _check_kind(request)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most and "expect" in request.headers:
        raise _too_large(f"{int(announced):,} bytes", most)
    body = _Body(held)
    size, crowded, end = 0, None, max(most, READ_ON)
    try:
        async for part in request.stream():
            size += len(part)
            if size > end:
                break
            if size > most or crowded or (crowded := body.crowded(part)):
                body.drop()
            else:
                body.add(part)
        found = b"".join(body.parts)
    except ClientDisconnect:
        raise Refused(400, "the body was cut off", "body", f"{size:,} bytes of it", "all of it", "Ask again.") from None
    finally:
        body.drop()
    if size > most:
        raise _too_large(f"{size:,} bytes" if size <= end else f"more than {end:,} bytes", most)
    if crowded:
        raise crowded
    return found


class _Body:
    """What is held of one body."""

    def __init__(self, held: Held) -> None:
        self.parts: list[bytes] = []
        self._held, self._bytes = held, 0

    def crowded(self, part: bytes) -> Refused | None:
        """Why this part cannot be held too; a body that is alone always can."""
        others, most = self._held.bytes - self._bytes, self._held.most
        if not others or self._held.bytes + len(part) <= most:
            return None
        found, step = f"{others:,} bytes of others", "Ask again in a second, or for fewer rows."
        what, headers = "too many bodies are being read", {"Retry-After": "1"}
        return Refused(429, what, "server", found, f"{most:,} bytes", step, headers)

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self._bytes += len(part)
        self._held.bytes += len(part)

    def drop(self) -> None:
        self.parts.clear()
        self._held.bytes -= self._bytes
        self._bytes = 0


def _check_kind(request: Request) -> None:
    """Raise Refused where the body is not announced as JSON: a form of any page of the web could send it so."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != JSON:
        raise Refused(415, "the body is of another kind", "header Content-Type", shortened(kind) if kind else "none",
                      JSON, f"Send the header Content-Type: {JSON}")  # fmt: skip
    if (coding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise Refused(415, "the body is compressed", "header Content-Encoding", shortened(coding), "none",
                      "Send it as it is.")  # fmt: skip


def _too_large(found: str, most: int) -> Refused:
    allowed, step = f"up to {most:,} bytes", "Ask for fewer rows at a time."
    return Refused(413, "the body is too large", "body", found, allowed, step, {"Connection": "close"})
