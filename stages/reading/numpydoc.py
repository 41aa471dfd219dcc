"""What numpydoc docstrings say of parameters, attributes and results: the entries of their sections."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

OPTIONAL = re.compile(r",?\s*\(?optional\)?", re.IGNORECASE)
_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}[^\S\n]*$", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}\w[\w, *.]*?)(?: ?: ?(.+))?$")
# Of bars those of a substitution, |name|; not those between types, int | float.
_MARKUP = re.compile(r":\w+:`|`|\*\*?(?=\w)|\.\. |>>>|(?<!\S)\|(?=\S)|(?<=\S)\|(?!\S)")


class Entry(NamedTuple):
    """A parameter, an attribute, or what is returned: its name, its type, and the words about it."""

    section: str
    name: str
    kind: str
    words: str


def may_have_entries(source: bytes) -> bool:
    """Whether a Python file may hold such sections; where it is certain that it does not, it need not be parsed."""
    return b"----" in source


def entries(docstring: str, sections: Collection[str]) -> list[Entry]:
    """The entries of these sections ("Parameters"), which describe something by its name, without markup."""
    found: list[Entry] = []
    headings = list(_HEADING.finditer(docstring))
    for heading, following in itertools.zip_longest(headings, headings[1:]):
        if heading[1] in sections:
            body = docstring[heading.end() : following.start() if following else len(docstring)]
            found += _entries(heading[1], body.splitlines())
    return found


def _entries(section: str, lines: Sequence[str]) -> Iterator[Entry]:
    head: re.Match[str] | None = None
    words: list[str] = []
    for line in [*lines, ""]:
        if line.strip() and not line.startswith((" ", "\t")):
            if head:
                yield _entry(section, head, words)
            head, words = _ENTRY.match(line.strip()), []
        elif head and line.strip():
            words.append(line)
    if head:
        yield _entry(section, head, words)


def _entry(section: str, head: re.Match[str], words: Sequence[str]) -> Entry:
    return Entry(section, *(_plain(part) for part in (head[1].strip("*"), head[2] or "", " ".join(words))))


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub("", text).split())
