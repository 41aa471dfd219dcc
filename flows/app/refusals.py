"""What a request that is not answered is told: what is wrong, where, what was found, what is allowed, the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from stages.core.contracts import UnwritableError


@dataclass  # not frozen: whoever handles an exception sets its traceback
class Refused(Exception):  # noqa: N818 - a refusal is how a request ends, and no fault of the program
    """A request that gets no answer."""

    status: int
    """Of HTTP: 400 and above."""
    what: str
    where: str
    """The place in the request: "body", "texts[2]", "header Content-Type"."""
    found: str
    allowed: str
    next_step: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The same as JSON."""
        told = {"what": self.what, "where": self.where, "found": self.found, "allowed": self.allowed}
        return {"error": {"status": self.status, **told, "next": self.next_step}}

    def response(self) -> JSONResponse:
        """The same as an answer of HTTP."""
        return JSONResponse(self.body(), self.status, dict(self.headers))


def is_ending() -> Refused:
    """That of a request that comes once the server is ending."""
    return Refused(503, "the server is ending", "server", "a new request", "those that it had before",
                   "Ask again when it is up again.", {"Retry-After": "5"})  # fmt: skip


def is_slow(seconds: float) -> Refused:
    """That of a body that does not come in time."""
    found, allowed = f"no end of it in {seconds:g} seconds", "a request and its answer in them"
    step, headers = "Send it faster, or in parts.", {"Connection": "close"}
    return Refused(408, "the body did not come in time", "body", found, allowed, step, headers)


def is_late(seconds: float) -> Refused:
    """That of a request without an answer in time."""
    found, allowed = f"none in {seconds:g} seconds", "a request and its answer in them"
    step, headers = "Ask again later, or for fewer rows.", {"Retry-After": "1"}
    return Refused(503, "there was no answer in time", "server", found, allowed, step, headers)


def unwritable(error: UnwritableError, rows: str | None) -> Refused:
    """That of texts for which nothing can be written; `rows`: the name of their list, None: of one text alone."""
    first = min(error.reasons)
    where = "text" if rows is None else f"{rows}[{first}]"
    return Refused(422, "nothing can be written for a text", where, f"it {error.reasons[first]}".rstrip("."),
                   "a text with room behind it", "Shorten it, or leave the row out.")  # fmt: skip
