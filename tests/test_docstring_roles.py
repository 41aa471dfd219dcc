"""Names that authors marked in docstrings: what of the markup is left, what is left out, and which rows are drawn."""

from __future__ import annotations

import pytest

from stages.reading.libraries import Library, read_all
from stages.sources.docstring_roles import rows_of, without_code, without_markup
from stages.tasks.shared.spans import faults, from_text


def marked(paragraph: str) -> str | None:
    """The text with its spans in brackets."""
    found = without_markup(paragraph)
    if found is None:
        return None
    text, spans = found
    assert faults(spans, len(text)) == []
    for start, end, kind in reversed(spans):
        text = f"{text[:start]}[{text[start:end]} {kind}]{text[end:]}"
    return text


@pytest.mark.parametrize(
    ("paragraph", "shown"),
    [
        ("Use :class:`Engine`.", "Use [Engine class]."),
        ("Use :py:class:`Engine`.", "Use [Engine class]."),
        ("Use :meth:`~a.b.Session.add` and\n  :func:`a.merge`.", "Use [add method] and [a.merge function]."),
        ("Raises :exc:`!Fault`, see :attr:`.Frame.shape`.", "Raises [Fault class], see [Frame.shape attribute]."),
        ("The :class:`loader <a.b.Loader>` of it", "The [loader class] of it"),
        ("Calls :func:`a.run()`, as ``run()`` does.", "Calls [a.run function], as run() does."),
        ("Of :class:`_engine.Engine` and `other`.", "Of [Engine class] and other."),
        ("No name, ``but`` a literal.", "No name, but a literal."),
    ],
)
def test_no_markup_is_left_by_which_a_name_could_be_told(paragraph: str, shown: str) -> None:
    assert marked(paragraph) == shown


@pytest.mark.parametrize(
    "paragraph",
    [
        "See :ref:`the guide <guide>`.",
        "The sum :math:`a + b` of :class:`Frame`.",
        "Many :class:`Frame`\\ s at once.",
        "The :class:`default loader <Loader>`.",
        ">>> run()",
        "Parameters\n----------\nx : :class:`Frame`",
        ".. versionadded:: 1.2",
        ":param x: a :class:`Frame`",
        "See `the site <https://example.org>`_.",
    ],
)
def test_what_is_no_running_text_or_no_whole_name_is_left_out(paragraph: str) -> None:
    assert marked(paragraph) is None


def test_code_is_left_out_until_the_text_goes_on() -> None:
    found = [
        "For example::",
        "    run()",
        "    more()",
        "It ends.",
        ".. code-block:: python",
        "   run()",
        "Again.",
    ]
    assert list(without_code(found)) == ["For example::", "", "", "It ends.", ".. code-block:: python", "", "Again."]


PARAGRAPHS = [f"Text number {number} of the class :class:`Name{number}` here." for number in range(6)]
BARE = [f"Text number {number} without a single name in it." for number in range(9)]


def source(paragraphs: list[str]) -> bytes:
    return ('"""' + "\n\n".join(paragraphs) + '\n"""\n').encode()


def test_for_every_third_row_with_a_name_there_is_one_without_from_the_same_file() -> None:
    library = Library("lib", 9, 20, 99, 5, rows_of)
    rows = rows_of(source([*PARAGRAPHS, *BARE]), "lib/a.py", library)
    labels = [from_text(row.label or "") for row in rows]
    assert sum(label != () for label in labels) == 6
    assert sum(label == () for label in labels) == 2
    assert {row.group for row in rows} == {"lib/a.py"}
    (second,) = (row for row in rows if row.origin == "lib/a.py[2]")
    assert (second.text, second.label) == ("Text number 1 of the class Name1 here.", '[[27,32,"class"]]')
    assert rows_of(source(BARE), "lib/a.py", library) == []


def test_texts_out_of_the_limits_are_neither_rows_nor_counted() -> None:
    rows = rows_of(source([*PARAGRAPHS, "An :class:`A`.", *BARE]), "lib/a.py", Library("lib", 9, 20, 38, 5, rows_of))
    assert {row.text for row in rows} == {text.replace(":class:`", "").replace("`", "") for text in PARAGRAPHS}


def test_rows_are_the_same_for_any_number_of_processes() -> None:
    libraries = [Library(name, 30, 45, 250, 20, rows_of) for name in ("jinja2", "kombu")]
    one, two = (list(read_all(libraries, workers)) for workers in (1, 2))
    assert one == two
    assert len(one) == 60
    assert len({row.origin for row in one}) == 60
    for row in one:
        assert faults(from_text(row.label or ""), len(row.text or "")) == []
        assert "`" not in (row.text or "")
        assert row.origin.startswith(row.group or "?")
