"""Great Expectations' pages, changed to work in a browser without a network, and without running anything.

The original pages fetch scripts, styles and a picture from seven hosts, stay empty without those, and hold texts of the
data. Here scripts are removed, the pages forbid themselves every request, and a front page of our own leads to them.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 1.5rem auto; max-width: 72rem;
  padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { border: 1px solid #bbb; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.failed { color: #a40000; } .warned { color: #7a5200; }
.btn-group, .modal, .card.mb-3, #navigation, footer { display: none; }
.fa-check-circle::before { content: "✓"; } .fa-times::before { content: "✗"; color: #a40000; }
.fa-exclamation-triangle::before { content: "⚠"; }
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #1b1b1b; } a { color: #8ab4f8; }
  .failed { color: #ff8a80; } .warned { color: #ffcf70; } }
"""
FETCHED = re.compile(
    r"<script\b.*?</script\s*>|<script\b[^>]*>|<(?:link|img|iframe|base|meta)\b[^>]*>", re.IGNORECASE | re.DOTALL
)
HEAD = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta charset="utf-8"><style>{STYLE}</style>'

Summary = Mapping[str, Sequence[Mapping[str, Any]]]


def write_pages(site: Path, summary: Summary, folder: Path) -> None:
    """Write Great Expectations' `site`, and a front page with the `summary` of each suite, as the new `folder`."""
    shutil.copytree(site, folder, ignore=shutil.ignore_patterns("static"))
    for page in folder.rglob("*.html"):
        text = FETCHED.sub("", page.read_text(encoding="utf-8"))
        page.write_text(re.sub(r"<head\b[^>]*>", lambda head: head[0] + HEAD, text, count=1), encoding="utf-8")
    (folder / "index.html").write_text(_front_page(folder, summary), encoding="utf-8")


def _front_page(folder: Path, summary: Summary) -> str:
    rows = "\n".join(_row(folder, name, results) for name, results in summary.items())
    lines = "\n".join(_failures(summary)) or "<li>Nothing failed.</li>"
    return (
        f'<!doctype html>\n<html lang="en"><head>{HEAD}<title>Validation of the data</title></head>\n<body>\n'
        f"<h1>Validation of the data</h1>\n<ul>\n{lines}\n</ul>\n<table>\n"
        "<tr><th>suite</th><th>expectations</th><th>failed</th></tr>\n"
        f"{rows}\n</table>\n</body></html>\n"
    )


def _row(folder: Path, name: str, results: Sequence[Mapping[str, Any]]) -> str:
    page = next(iter(sorted((folder / "validations" / name).rglob("*.html"))))
    address = quote(page.relative_to(folder).as_posix())
    failed = sum(not result["success"] for result in results)
    return f'<tr><td><a href="{address}">{html.escape(name)}</a></td><td>{len(results)}</td><td>{failed}</td></tr>'


def _failures(summary: Summary) -> Iterator[str]:
    for results in summary.values():
        for result in results:
            if not result["success"]:
                kind, word = ("warned", "Warning: ") if result["warns"] else ("failed", "Failed: ")
                yield f'<li class="{kind}">{word}{html.escape(result["message"])}</li>'
