"""The two pages: one to try the model on, one that describes the API. Neither loads anything; each has its policy.

FastAPI's own page of the API loads its scripts from a server of others, so this one is made here, without scripts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from flows.app.served import Served

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def trial() -> HTMLResponse:
    """The page to try the model on."""
    return _with_policy(_environment().get_template("trial.html.j2").render())


def described(api: Mapping[str, Any], served: Served) -> HTMLResponse:
    """The page of the API; `api` is its OpenAPI document."""
    environment = _environment()
    environment.filters["json"] = partial(json.dumps, indent=2, ensure_ascii=False)
    environment.filters["line"] = partial(json.dumps, ensure_ascii=False)
    return _with_policy(environment.get_template("docs.html.j2").render(api=api, served=served))


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _with_policy(page: str) -> HTMLResponse:
    """The page, with a policy that lets it run its own script and style, ask its own server, and nothing else."""
    hashes: dict[str, list[str]] = {"style": [], "script": []}
    for kind, content in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    sources = "; ".join(" ".join([f"{kind}-src", *(found or ["'none'"])]) for kind, found in hashes.items())
    rest = "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    return HTMLResponse(page, headers={"Content-Security-Policy": f"default-src 'none'; {sources}; {rest}"})
