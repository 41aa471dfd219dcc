"""Pieces of Markdown: numbers as people read them, untrusted texts, tables. Pure."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence

# What becomes a link without any markup, up to where a sign without width ends it: @name, https://, www., GH-12.
MENTIONS = re.compile(r"@|:(?=//)|\bwww(?=\.)|\bGH-(?=\d)", re.IGNORECASE)


def value(number: float | None, unit: str, *, signed: bool = False) -> str:
    """A number as people read it: a share in percent, three significant digits of the rest; "-" for None."""
    if number is None or not math.isfinite(number):
        return "-"
    sign = "+" if signed else ""
    if unit == "share":
        return f"{number * 100:{sign}.1f}{' points' if signed else '%'}"
    digits = f"{number:{sign},.0f}" if abs(number) >= 100 else f"{number:{sign}.3g}"
    return f"{digits} {unit}".rstrip()


def between(low: float | None, high: float | None, unit: str) -> str:
    """The ends of a difference, with the unit once: "-0.7 and +2.2 points"; "-" where one is unknown."""
    ends = [value(end, unit, signed=True) for end in (low, high)]
    return "-" if "-" in ends else f"{ends[0].partition(' ')[0]} and {ends[1]}"


def plural(noun: str) -> str:
    """More than one of them: labels, classes."""
    return f"{noun}{'es' if noun.endswith('s') else 's'}"


def article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def capital(title: str) -> str:
    """A title as a heading: its first letter large."""
    return f"{title[:1].upper()}{title[1:]}"


def arrows(text: str) -> str:
    """The text with the arrows of a terminal replaced by the one that pages use."""
    return text.replace(" -> ", " → ")


def escape(text: str) -> str:
    """An untrusted text, escaped for a cell of a Markdown table: no markup, mention, link or new cell.

    An underscore between two letters stays, as it is no emphasis there; so does "!" but before a number (GitLab's merge
    requests), as no bracket is left that would make an image of it.
    """
    safe = re.sub(r"([\\`*\[\]|~#$]|!(?=\d)|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", html.escape(text, quote=False))
    return " ".join(MENTIONS.sub("\\g<0>\u2060", safe).split())


def code(text: str) -> str:
    """An untrusted text as code in Markdown: nothing of it is markup, or ends the code."""
    line = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    padded = f" {line} " if line.startswith("`") or line.endswith("`") else line
    return f"{fence}{padded}{fence}"


def in_cell(code: str) -> str:
    """Code for a cell of a Markdown table, which a bar would end there."""
    return code.replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[tuple[str, ...]], *, numbers: int = 0) -> str:
    """A Markdown table; `numbers`: so many of its last columns stand to the right."""
    ruler = [*["---"] * (len(header) - numbers), *["---:"] * numbers]
    lines = [header, ruler, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
