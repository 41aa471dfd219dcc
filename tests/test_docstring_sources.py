"""The corpora of questions and of pairs that docstrings make, by hand and from an installed library."""

from __future__ import annotations

import json

import pytest

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, RowsOf, read_all
from stages.reading.numpydoc import entries
from stages.sources import docstring_pairs, docstring_questions
from stages.sources.docstring_questions import SECTIONS, Question, asked

NUMPYDOC = """Sum the values.

Parameters
----------
axis : {0, 1}, default 0
    The axis along which to sum. More of it.
out : :class:`ndarray`, optional
    Where to put the result
how : str or None
    The way. Default is 'fast'.
a, b : float
    Both of them. So it is.

Returns
-------
total : float
    The sum of all values.

Notes
-----
axis : int
    Not of a parameter.
"""


def answered(name: str, kind: str) -> Question:
    _, found = asked(entries(NUMPYDOC, SECTIONS), "total_of")
    words = {text.format(name=name) for text in docstring_questions.ASKED[kind]}
    [one] = [question for question in found if question.text in words]
    return one


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [
        ("axis", "default", "0"),
        ("axis", "type", "{0, 1}"),
        ("axis", "meaning", "The axis along which to sum"),
        ("out", "type", "ndarray"),
        ("out", "default", None),
        ("how", "default", "'fast'"),
        ("a, b", "meaning", "Both of them"),
        ("total_of", "returned", "The sum of all values"),
    ],
)
def test_questions_are_answered_by_their_authors_words_where_these_stand(
    name: str, kind: str, answer: str | None
) -> None:
    text, _ = asked(entries(NUMPYDOC, SECTIONS), "total_of")
    found = answered(name, kind)
    if answer is None:
        assert found.start is None
    else:
        assert found.start is not None
        assert text[found.start : found.start + len(found.answer)] == found.answer == answer


@pytest.mark.parametrize(
    ("kind", "default", "type_"),
    [
        ("float, default=1e-4", "1e-4", "float"),
        ("float, default=.5", ".5", "float"),
        ("int, default=-1", "-1", "int"),
        ("tuple of int, default=(5, 2)", "(5, 2)", "tuple of int"),
        ("list, default=[]", "[]", "list"),
        ("str, default 'a b'", "'a b'", "str"),
        ("float, default=np.inf", "np.inf", "float"),
        ("str, default is utf-8", "utf-8", "str"),
        ("float (default: 1.)", "1.", "float"),
        ("3d array, defaults", "", ""),
    ],
)
def test_a_default_is_taken_whole_and_what_cannot_be_read_asks_nothing(kind: str, default: str, type_: str) -> None:
    _, found = asked(entries(f"Parameters\n----------\nx : {kind}\n    Words.\n", SECTIONS), "f")
    of = {"default": "", "type": ""}
    for question in found:
        for what in of:
            if question.text in {text.format(name="x") for text in docstring_questions.ASKED[what]}:
                of[what] = question.answer if question.start is not None else "nothing"
    assert of == {"default": default, "type": type_}


def test_words_that_are_points_alone_are_no_answer() -> None:
    _, found = asked(entries("Parameters\n----------\nx : int\n    ... and so on\n", SECTIONS), "f")
    assert all(question.answer for question in found if question.start is not None)


def test_the_text_is_of_what_is_described_and_nothing_else() -> None:
    text, _ = asked(entries(NUMPYDOC, SECTIONS), "total_of")
    assert text == (
        "axis : {0, 1}, default 0 The axis along which to sum. More of it. out : ndarray, optional Where to put the"
        " result how : str or None The way. Default is 'fast'. a, b : float Both of them. So it is. total : float The"
        " sum of all values."
    )


SOURCE = '''
def a():
    """Add what numpy has.

    More is said of numpy
    in this paragraph.

    And a third.
    """

def b():
    """Take away.

    Parameters
    ----------
    x : int
    """

def c():
    """Only one paragraph is here."""
'''


def test_a_pair_is_two_paragraphs_of_running_text_and_masked() -> None:
    library = Library("numpy", 9, 20, 300, 20, docstring_pairs.pairs)
    second = "More is said of LIBRARY in this paragraph."
    [row] = docstring_pairs.pairs(SOURCE.encode(), "a.py", library)
    assert row == RawRow("Add what LIBRARY has.", second, "a.py:a", group="a.py", text_pair=second)


@pytest.mark.parametrize("rows_of", [docstring_questions.rows_of, docstring_pairs.pairs])
def test_rows_of_an_installed_library_are_the_same_for_any_number_of_processes(rows_of: RowsOf) -> None:
    library = Library("sklearn", 60, 45, 1200, 20, rows_of)
    one, two = (list(read_all([library], workers)) for workers in (1, 2))
    assert one == two
    assert len(one) == 60
    assert len({row.group for row in one}) > 50
    for row in one:
        assert row.text_pair
        if rows_of is docstring_questions.rows_of:
            for answer in json.loads(str(row.label)):
                assert str(row.text)[answer["answer_start"] :].startswith(answer["text"])
