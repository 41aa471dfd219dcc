"""The corpora of docstrings to write, and of their first lines: by hand, and from installed libraries."""

from __future__ import annotations

import pytest

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, RowsOf, read_all
from stages.sources import docstring_summaries, docstring_texts
from stages.sources.docstring_summaries import is_summary, plain

SOURCE = b'''
"""One line alone."""

def eig(a):
    """Return the eigenvalues of a :class:`~np.Matrix`.

    They are in *ascending* order, each as often as it occurs.

    Parameters
    ----------
    a : array   \n        The ``matrix``.
    """

def short():
    """Return the thing that it was given.

    Short.
    """

def heading():
    """Parameters are described here
    over two lines.

    And this is a long enough paragraph below them.
    """

def repeated():
    """Return the sum of all the values.

    Return the sum of all the values. Nothing else is said of them here.
    """
'''


def library(rows_of: RowsOf, least: int = 30, most: int = 400) -> Library:
    return Library("widgets", 9, least, most, 0, rows_of)


def test_whole_docstrings_keep_their_lines_and_lose_what_no_reader_sees() -> None:
    rows = docstring_texts.rows_of(SOURCE, "widgets/core.py", library(docstring_texts.rows_of))
    texts = {row.origin.rpartition(":")[2]: row.text for row in rows}
    assert texts["eig"] == (
        "Return the eigenvalues of a :class:`~np.Matrix`.\n\nThey are in *ascending* order, each as often as it"
        " occurs.\n\nParameters\n----------\na : array\n    The ``matrix``."
    )
    assert len(texts) == 4, "a line alone is shorter than 30 characters"
    assert all(row.label == row.text and row.group == "widgets/core.py" for row in rows)


def test_a_summary_is_the_target_of_what_stands_below_it() -> None:
    rows = docstring_summaries.rows_of(SOURCE, "widgets/core.py", library(docstring_summaries.rows_of))
    assert rows == [
        RawRow(
            "They are in *ascending* order, each as often as it occurs.\n\nParameters\n----------\na : array   \n"
            "    The matrix.",
            "Return the eigenvalues of a Matrix.",
            "widgets/core.py:eig",
            group="widgets/core.py",
        )
    ], "neither too little below it, nor two lines, nor one that stands below once more"


def test_a_text_is_of_whole_paragraphs_as_many_as_fit() -> None:
    rows = docstring_summaries.rows_of(SOURCE, "widgets/core.py", library(docstring_summaries.rows_of, 30, 80))
    assert [row.text for row in rows] == ["They are in *ascending* order, each as often as it occurs."]


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("Return the mean of the values.", True),
        ("Compute a 2-D (or 3-D) histogram, e.g. of colours.", True),
        ("Return the mean", False),
        ("See above.", False),
        ("Wait for it to end...", False),
        ("return the mean of the values.", False),
        ("Return the mean. It is exact.", False),
        ("mean(values, axis) -> float with a long tail.", False),
        ("Fill in the %(name)s of the thing.", False),
        ("Use it like this, as in:: here it is.", False),
        ("See https://example.org for more of it.", False),
        (" ".join(["Word"] * 25) + ".", False),
        ("", False),
    ],
)
def test_a_summary_is_one_sentence_that_says_something(line: str, is_one: bool) -> None:
    assert is_summary(line) is is_one


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (":func:`merge` of ``Session``", "merge of Session"),
        (":py:meth:`~a.Session.add` and :class:`.Query`", "add and Query"),
        (":ref:`the manual <manual>`, :class:`!Hidden`", "the manual, Hidden"),
    ],
)
def test_names_lose_their_markup(written: str, shown: str) -> None:
    assert plain(written) == shown


@pytest.mark.parametrize("rows_of", [docstring_texts.rows_of, docstring_summaries.rows_of])
def test_rows_of_installed_libraries_are_the_same_for_any_number_of_processes(rows_of: RowsOf) -> None:
    some = [Library(name, 20, 120, 800, 20, rows_of) for name in ("redis", "rich")]
    one, two = (list(read_all(some, workers)) for workers in (1, 2))
    assert one == two
    assert len(one) == 40
    assert all(120 <= len(row.text or "") <= 800 and row.label and row.group for row in one)
