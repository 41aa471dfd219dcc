"""The body of a request, within limits."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from flows.app.limits import shortened
from flows.app.refusals import Refused

JSON = "application/json"
READ_ON = 64 * 1024 * 1024  # bytes of a body that is too large: who is cut off while sending may never read why


async def body_of(request: Request, most: int) -> bytes:
    """The body, of `most` bytes at most.

    Raises Refused: 415 where it is not announced as JSON, 413 where it is larger. No more than `most` bytes are held.
    """
    _check_kind(request)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most and "expect" in request.headers:
        raise _too_large(f"{int(announced):,} bytes", most)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > READ_ON:
                break
            if size <= most:
                parts.append(part)
            else:
                parts.clear()
    except ClientDisconnect:
        raise Refused(400, "the body was cut off", "body", f"{size:,} bytes of it", "all of it", "Ask again.") from None
    if size > most:
        raise _too_large(f"{size:,} bytes" if size <= READ_ON else f"more than {READ_ON:,} bytes", most)
    return b"".join(parts)


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
