"""What a request that is not answered is told: what is wrong, where, what was found, what is allowed, the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse


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
