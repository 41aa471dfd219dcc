"""Source `docstring_summaries`: what a docstring says below its first line, and that line, which sums it up.

    Return the eigenvalues of a symmetric matrix.                     the target
    They are in ascending order.⏎⏎Parameters⏎----------⏎a : array     the text

A first line is taken where it is one sentence of running text, as PEP 257 asks for, and where enough follows it to
write it from: whole paragraphs, as many as `max_chars` allows. Names keep no markup: backticks, and Sphinx's roles,
would be learned in the place of words. The docstrings of a file are a group. How files are chosen and rows are drawn:
stages/reading/libraries.

Source: PEP 257, "Multi-line docstrings consist of a summary line just like a one-line docstring, followed by a blank
line, followed by a more elaborate description".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, docstrings, order, paragraphs, reader

WORDS = (4, 24)  # of a summary: fewer say too little ("See above."), more are no line
_SENTENCE = re.compile(r"[A-Z][^\n]*[^\s.:]\.")  # begins as a sentence does, and ends as one
# A second sentence, a call or a signature, examples, directives, fields, templates: no summary, or more than one.
_NO_SUMMARY = re.compile(r"[.!?] +[A-Z]|^\w+\(|->|>>>|::|[{}|\\]|%\(|https?:")
_ROLE = re.compile(r":(?:[\w+-]+:)+`([^`]+)`")
_TITLED = re.compile(r"(.+?)\s*<[^<>]+>")  # `the title <target>`


def rows_of(source: bytes, path: str, library: Library) -> list[RawRow]:
    """A row for each docstring of a file with a summary and enough below it, in the order of a hash.

    Raises SyntaxError where the source is none.
    """
    found = []
    for origin, docstring in docstrings(source, path):
        first, *others = (plain(paragraph) for paragraph in paragraphs(docstring.strip()))
        text = "\n\n".join(_fitting(others, library.max_chars)) if is_summary(first) else ""
        if len(text) >= library.min_chars and first not in " ".join(text.split()):
            found.append(RawRow(text, first, origin, group=path))
    return sorted(found, key=lambda row: order(library.seed, row.origin))


def is_summary(line: str) -> bool:
    """Whether a first paragraph is one line with one sentence, which says something."""
    return bool(
        _SENTENCE.fullmatch(line) and not _NO_SUMMARY.search(line) and WORDS[0] <= len(line.split()) <= WORDS[1]
    )


def plain(paragraph: str) -> str:
    """The paragraph without backticks; of a role its title, or its name, after `~` its last part."""
    return _ROLE.sub(lambda role: _shown(role[1]), paragraph).replace("`", "").replace("\\ ", "").rstrip()


def _shown(target: str) -> str:
    if titled := _TITLED.fullmatch(target):
        return titled[1]
    name = target.removeprefix("!")
    return name[1:].rpartition(".")[2] if name.startswith("~") else name.lstrip(".")


def _fitting(parts: Iterable[str], chars: int) -> Iterator[str]:
    """The first paragraphs, as many as have at most so many characters with the empty lines between them."""
    for part in parts:
        chars -= len(part)
        if chars < 0:
            return
        yield part
        chars -= len("\n\n")


read = reader(rows_of)
