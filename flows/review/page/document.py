"""A page as one HTML file that opens without a network: what the review's page and other pages have in common. Pure.

Pages contain untrusted texts: Jinja2 escapes all of them, data are JSON without a "<", and a page's own policy runs the
scripts whose hashes it names and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from flows.review.markdown import arrows

TEMPLATES = Path(__file__).parent / "templates"
NOTHING: Mapping[str, Any] = {"charts": {}, "config": {}}
"""The data of a page without charts."""


def rendered(template: str, scripts: Sequence[str] = (), data: Any = NOTHING, **values: Any) -> str:
    """The page of a template: with the style and the script of all pages, after other `scripts`, and its `data`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["arrows"] = arrows
    ours = (TEMPLATES / "review.js").read_text(encoding="utf-8")
    run = [_script(source) for source in (*scripts, ours)]
    page = environment.get_template(template).render(
        **values,
        data=_json(data),
        css=Markup((TEMPLATES / "review.css").read_text(encoding="utf-8")),  # noqa: S704  (a file of ours)
        scripts=[Markup(script) for script in run],  # noqa: S704
        policy=" ".join(f"'sha256-{_sha256(script)}'" for script in run),
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written


def _script(source: str) -> str:
    """JavaScript that cannot end its own script element."""
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r\n", "\n")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(content: Any) -> Markup:
    """JSON, ASCII only and without "<", ">" and "&", so that no text in it ends the script element or is markup."""
    text = json.dumps(_finite(content), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704


def _finite(content: Any) -> Any:
    """The same value with None for numbers that JSON does not have: infinities and NaN."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _finite(entry) for key, entry in content.items()}
    return [_finite(entry) for entry in content] if isinstance(content, list | tuple) else content
