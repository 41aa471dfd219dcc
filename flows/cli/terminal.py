"""Markdown for whoever reads it: drawn, with aligned tables, on a terminal; as it is in a pipe or a file."""

from __future__ import annotations

import re
import sys
from typing import TextIO

import click


def show(markdown: str, *, as_it_is: bool) -> None:
    """Print it: drawn where the standard output is a terminal and nobody wants it `as_it_is`."""
    if as_it_is or not sys.stdout.isatty():
        click.echo(markdown)
    else:
        draw(markdown, sys.stdout)


def draw(markdown: str, stream: TextIO, width: int | None = None) -> None:
    """Write tables and headings of `width` columns (None: the terminal's) to `stream`."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console(file=stream, width=width).print(Markdown(_without_html(markdown)))


def _without_html(markdown: str) -> str:
    """What only a browser draws in words: folded parts become sections. No control character reaches the terminal."""
    text = re.sub(r"<details><summary>(.*?)</summary>", r"### \1", markdown.replace("\u2060", ""))
    text = re.sub(r"</?(details|code)>", "", text).replace("<br>", " / ")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)
