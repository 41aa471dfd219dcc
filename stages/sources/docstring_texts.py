"""Source `docstring_texts`: whole docstrings, as texts that a model learns to write.

    Return the sum.⏎⏎Parameters⏎----------⏎axis : int⏎    Where to add.      the text, with its lines and its indents

The target is the text itself. Lines end where their last character stands; nothing else is changed, as the layout is
part of what is learned. The docstrings of a file are a group. How files are chosen and rows are drawn:
stages/reading/libraries.
"""

from __future__ import annotations

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, docstrings, order, reader, without_surrogates


def rows_of(source: bytes, path: str, library: Library) -> list[RawRow]:
    """A row for each docstring of a file, in the order of a hash. Raises SyntaxError where the source is none."""
    found = []
    for origin, docstring in docstrings(source, path):
        text = "\n".join(line.rstrip() for line in without_surrogates(docstring).strip().split("\n"))
        if library.min_chars <= len(text) <= library.max_chars:
            found.append(RawRow(text, text, origin, group=path))
    return sorted(found, key=lambda row: order(library.seed, row.origin))


read = reader(rows_of)
