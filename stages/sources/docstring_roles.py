"""Source `docstring_roles`: paragraphs of docstrings with the names that their authors marked, as spans with types.

    Use :meth:`~a.Session.add` of ``Session``, not :func:`merge`.     as its author wrote it
    Use add of Session, not merge.                                    the text, without any markup
        method             function                                   the spans; the literal is none

The roles are Sphinx's. A reader sees bare names, and has to tell from the words around them what each is, and which
were marked. Paragraphs without a role, from the same files, are the texts where nothing is to be found. How files are
chosen and rows are drawn: stages/reading/libraries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, docstrings, order, paragraphs, reader
from stages.tasks.shared.spans import Span, as_text

TYPES = {"attr": "attribute", "class": "class", "exc": "class", "func": "function", "meth": "method"}
"""The roles that are taken, and the types that they stand for; a paragraph with another role is left out.

Exceptions are classes, and often marked so; of modules there are too few to learn or to measure.
"""
MARKED_FOR_EACH_BARE = 3  # so many rows with a role to one of the same file without
_ROLE = re.compile(rf"(?<![\w`]):(?:py:)?({'|'.join(TYPES)}):`([^`]+)`")
_TITLED = re.compile(r"(.+?)\s*<[^<>]+>")  # `the title <target>`
_ALIAS = re.compile(r"_[a-z]+\.")  # SQLAlchemy's for its own packages, which its pages do not show
_CODE_FOLLOWS = re.compile(r"^(?!\s*\.\.).*::$|^\s*\.\. (code|code-block|doctest|plot|sourcecode|testcode)::")
# Other roles and links, examples, headings and tables, directives: what is no running text, or would not read as one.
_LEFT_OUT = re.compile(r":[\w:+.-]+:`|`_|```|>>>|[-=~^+*#]{4}|\|\S|^\.\.|^:")


def rows_of(source: bytes, path: str, library: Library) -> list[RawRow]:
    """The rows of a file, in the order of a hash: those with a role, and for every third one without.

    Raises SyntaxError where the source is none.
    """
    if b":`" not in source:
        return []
    found: list[RawRow] = []
    for origin, docstring in docstrings(source, path):
        for number, paragraph in enumerate(without_code(paragraphs(docstring)), start=1):
            if (read := without_markup(paragraph)) and library.min_chars <= len(read[0]) <= library.max_chars:
                found.append(RawRow(read[0], as_text(read[1]), f"{origin}[{number}]", group=path))
    marked, bare = ([row for row in found if (row.label == "[]") is empty] for empty in (False, True))
    bare.sort(key=lambda row: order(library.seed, f"bare {row.origin}"))  # by another hash than the one they stand by
    left = order(library.seed, path)[0] % MARKED_FOR_EACH_BARE  # files with few rows add up to as many in the end
    taken = [*marked, *bare[: (len(marked) + left) // MARKED_FOR_EACH_BARE]]
    return sorted(taken, key=lambda row: order(library.seed, row.origin))


def without_code(found: Iterable[str]) -> Iterator[str]:
    """The paragraphs; for each of a block of code, which stands deeper than the one that announces it, an empty one."""
    announced: int | None = None
    for paragraph in found:
        first, last = paragraph.strip("\n").partition("\n")[0], paragraph.rstrip().rpartition("\n")[2]
        depth = len(first) - len(first.lstrip())
        if announced is not None and depth > announced:
            yield ""
            continue
        announced = depth if _CODE_FOLLOWS.search(last) else None
        yield paragraph


def without_markup(paragraph: str) -> tuple[str, list[Span]] | None:
    """The running text of a paragraph and its spans; None where it is no running text, or a name cannot be told.

    No backtick is left, of literals neither: they would show what is a name and what is none of these types.
    """
    source = " ".join(paragraph.split())
    if _LEFT_OUT.search(_ROLE.sub("", source)):
        return None
    text, spans, at = "", [], 0
    for role in _ROLE.finditer(source):
        text += _bare(source[at : role.start()])
        if (name := _shown(role[2])) is None:
            return None
        spans.append(Span(len(text), len(text) + len(name), TYPES[role[1]]))
        text, at = text + name, role.end()
    text += _bare(source[at:])
    return None if any(_is_torn(span, text) for span in spans) else (text, spans)


def _bare(text: str) -> str:
    """Without backticks, and without the escaped blanks that end a role before a letter."""
    return text.replace("`", "").replace("\\ ", "")


def _shown(target: str) -> str | None:
    """What a page shows for a role: the title, or the name, after `~` its last part; None where that is no name.

    Brackets behind a function's name are left out: Sphinx adds them to all.
    """
    titled = _TITLED.fullmatch(target)
    name = (titled[1] if titled else target).removeprefix("!")
    if name.startswith("~"):
        name = name.removesuffix("()").rpartition(".")[2].removeprefix("~")
    name = _ALIAS.sub("", name.removesuffix("()").lstrip("."), count=1) if not titled else name.removesuffix("()")
    return name if re.fullmatch(r"[\w.]+", name) else None


def _is_torn(span: Span, text: str) -> bool:
    """Whether a letter or digit touches the span, so that no word ends where it does."""
    around = text[max(0, span.start - 1) : span.start] + text[span.end : span.end + 1]
    return any(character.isalnum() or character == "_" for character in around)


read = reader(rows_of)
