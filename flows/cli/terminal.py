"""Markdown output: drawn, with aligned tables, on a terminal; unchanged in a pipe or a file."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

import click


def show(markdown: str, *, as_it_is: bool) -> None:
    """Print the Markdown: drawn on a terminal, unless `as_it_is`; unchanged elsewhere."""
    if as_it_is or not sys.stdout.isatty():
        click.echo(markdown)
    else:
        draw(markdown, sys.stdout)


def shows_colour() -> bool:
    """Whether standard output is a terminal whose user has not set NO_COLOR (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def draw(markdown: str, stream: TextIO, width: int | None = None) -> None:
    """Write the Markdown, drawn `width` columns wide (None: as wide as the terminal), to `stream`."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console(file=stream, width=width).print(Markdown(_without_html(markdown)))


def _without_html(markdown: str) -> str:
    """The Markdown without HTML: folded parts become sections, and control characters become U+FFFD."""
    text = re.sub(r"<details><summary>(.*?)</summary>", r"### \1", markdown.replace("\u2060", ""))
    text = re.sub(r"</?(details|code)>", "", text).replace("<br>", " / ")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)
