"""Source `docstring_types`: what numpydoc docstrings say of a parameter, and the types that it may have.

    gamma : {'scale', 'auto'} or float, default='scale'      its heading, of which the target is made
        The reach of a single example.                       the text
    ["float","options"]                                      the target

The heading is no part of the text, and neither is the name: `axis` and `random_state` have one type nearly everywhere,
which would be learned by heart; and descriptions that differ in the name alone are found to be duplicates without it.
How headings are read: stages/reading/type_headings. How files are chosen and rows are drawn: stages/reading/libraries.
"""

from __future__ import annotations

import re
from collections import Counter

from stages.core.contracts import RawRow, RejectedRow
from stages.reading.libraries import Library, docstrings, order, reader
from stages.reading.numpydoc import Entry, entries, may_have_entries
from stages.reading.type_headings import types_of
from stages.tasks.shared.label_sets import as_text

SECTIONS = ("Parameters",)
# Notes of versions and examples end the description.
_DIRECTIVE = re.compile(r"\s*\b(?:version\w+|deprecated|note|warning|seealso|rubric|math|plot|code-block)?::(?=\s|$).*")
_TEMPLATE = re.compile(r"%\(\w+\)s|\{\w+\}")  # filled in as the library is imported, so not what a reader sees


def rows_of(source: bytes, path: str, library: Library) -> list[RawRow | RejectedRow]:
    """A row for each parameter that a file describes, in the order of a hash; those of unknown types are rejected.

    Raises SyntaxError where the source is none.
    """
    if not may_have_entries(source):
        return []
    found: list[RawRow | RejectedRow] = []
    seen: Counter[str] = Counter()
    for place, docstring in docstrings(source, path):
        for entry in entries(docstring, SECTIONS):
            text = described(entry)
            if text is None or not library.min_chars <= len(text) <= library.max_chars:
                continue
            origin = f"{place}{'.' if ':' in place else ':'}{entry.name.replace(' ', '')}"
            seen[origin] += 1
            counter = f"#{seen[origin]}" if seen[origin] > 1 else ""
            found.append(_row(entry, text, f"{origin}{counter}", path))
    return sorted(found, key=lambda row: order(library.seed, row.origin))


def described(entry: Entry) -> str | None:
    """The description of a parameter; None where there is no heading, or it may go on in the description."""
    heading = entry.kind
    is_open = any(heading.count(one) != heading.count(other) for one, other in ("()", "[]", "{}"))
    goes_on = is_open or heading.endswith((",", "\\", " or"))
    if not heading or goes_on or _TEMPLATE.search(f"{heading} {entry.words}"):
        return None
    return _DIRECTIVE.sub("", entry.words)


def _row(entry: Entry, text: str, origin: str, path: str) -> RawRow | RejectedRow:
    types = types_of(entry.kind)
    if types is None:
        return RejectedRow(origin, "bad_target", f"the heading '{entry.kind}' names a type that is not known", text)
    return RawRow(text, as_text(types), origin, group=path)


read = reader(rows_of)
