"""Source `docstring_pairs`: the first paragraph of a docstring, and the one that says more about the same.

    Return the eigenvalues of a symmetric matrix.                     the text
    They are in ascending order, each as often as it occurs.          the second text, which belongs to it

Both are masked as in the source docstrings, so that a library's name does not give the pair away. The target is the
second text: a pair that belongs together. How files are chosen and rows are drawn: stages/reading/libraries.
"""

from __future__ import annotations

import re

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, docstrings, order, paragraphs, reader
from stages.sources.docstrings import MASK, own_names

# Headings and tables, examples, directives, fields, lists: what is no running text.
_NO_PROSE = re.compile(r"[-=~^+*#]{4}|\|\S|>>>|```|^\s*(\.\.|:|[-*+] |\d+[.)] |@)|::\s*$", re.MULTILINE)


def pairs(source: bytes, path: str, library: Library) -> list[RawRow]:
    """A row for each docstring of a file with two such paragraphs, in the order of a hash.

    Raises SyntaxError where the source is none.
    """
    mask = own_names(library.name)
    found = []
    for origin, docstring in docstrings(source, path):
        parts = paragraphs(docstring)[:2]
        if len(parts) < 2 or any(_NO_PROSE.search(part) for part in parts):
            continue
        first, second = (" ".join(mask.sub(MASK, part).split()) for part in parts)
        if library.min_chars <= len(second) <= library.max_chars:
            found.append(RawRow(first, second, origin, group=path, text_pair=second))
    return sorted(found, key=lambda row: order(library.seed, row.origin))


read = reader(pairs)
