"""Types that headings name, by hand; the descriptions that stand under them; and the corpus of installed libraries."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from flows.projects.starting import OURS
from stages.core.contracts import RawRow, RejectedRow
from stages.core.params.file import load_params
from stages.reading.libraries import Library, draw, read_all
from stages.reading.numpydoc import Entry
from stages.reading.type_headings import LABELS, types_of
from stages.sources.docstring_types import described, rows_of
from stages.tasks.multilabel_classification.data import DATA
from stages.tasks.multilabel_classification.settings import SETTINGS
from stages.tasks.shared.label_sets import from_text


def named(heading: str) -> str | None:
    types = types_of(heading)
    return None if types is None else " ".join(sorted(types))


@pytest.mark.parametrize(
    ("heading", "labels"),
    [
        ("bool, optional", "bool"),
        ("boolean, default: False", "bool"),
        ("int, default=5", "int"),
        ("Integer (default=3)", "int"),
        ("positive float, optional", "float"),
        ("str, list of str", "list str"),
        ("int or tuple of ints, optional", "int tuple"),
        ("DataFrame or Series", "pandas"),
        ("pd.DataFrame, dict or Index", "dict pandas"),
        ("callable or float", "callable float"),
        ("function, default np.mean", "callable"),
        ("dictionary", "dict"),
        ("dict of str -> object", "dict"),
        ("sequence of (str, callable)", "sequence"),
        ("list/tuple", "list tuple"),
        ("scalar or datetime-like", "number object"),
        ("int, RandomState instance", "int object"),
        ("path-like or str", "object str"),
        ("dtype, optional", "object"),
        ("1d array-like, or sparse matrix", "array_like sparse"),
        ("int | float", "float int"),
        ("str | list[str]", "list str"),
        ("bool|str", "bool str"),
        ("int or tuple of ints or sequence of pairs of ints", "int sequence tuple"),
        ("dict, list of dicts, or Series of dicts", "dict list pandas"),
        ("DataFrame object", "pandas"),
        ("callable object", "callable"),
    ],
)
def test_each_alternative_is_one_label_however_it_is_written(heading: str, labels: str) -> None:
    assert named(heading) == labels


@pytest.mark.parametrize(
    ("heading", "labels"),
    [
        ("int or None, default None", "None int"),
        ("array-like of shape (n,), default=None", "None array_like"),
        ("str, defaults to None", "None str"),
        ("int | None", "None int"),
        ("{'a', None}", "None options"),
        ("str, default='none'", "str"),
    ],
)
def test_none_is_a_type_where_it_is_named_or_the_default(heading: str, labels: str) -> None:
    assert named(heading) == labels


@pytest.mark.parametrize(
    ("heading", "labels"),
    [
        ("{'a', 'b'} or callable", "callable options"),
        ("{0 or 'index', 1 or 'columns'}, default 0", "options"),
        ("{left, right}", "options"),
        ("'auto' or int", "int options"),
        ("{True, False, 'infer'}", "bool options"),
        ("{array-like, sparse matrix} of shape (n_samples, n_features)", "array_like sparse"),
        ("{str, callable}, optional", "callable str"),
        ("list of {int, str}", "list"),
        ("array-like, dtype={int, bool}", "array_like"),
    ],
)
def test_braces_hold_values_or_types(heading: str, labels: str) -> None:
    assert named(heading) == labels


@pytest.mark.parametrize(
    ("heading", "labels"),
    [
        ("(M,) or (M, N) array_like", "array_like"),
        ("array-like of shape (n,) or (n, m)", "array_like"),
        ("ndarray, shape (n, 2), dtype=float", "ndarray"),
        ("1-D array of float", "ndarray"),
        ("integer array_like", "array_like"),
        ("sequence[str] or Callable[[int, str], bool]", "callable sequence"),
        ("list of lists, tuples or sets", "list"),
        ("float or (float, float), optional", "float tuple"),
    ],
)
def test_shapes_and_what_a_container_holds_are_no_types_of_the_parameter(heading: str, labels: str) -> None:
    assert named(heading) == labels


@pytest.mark.parametrize(
    "heading",
    [
        "Ignored", "None", "optional", "", "int or Bounds", "{'a', Kernel, str}", "bool or spam, default None",
        # What the array holds, or another type?
        "(N,) array_like, bool", "ndarray, float32 or float64",
        "int or length-D tuple of integers", "bool or same types as to_replace", "int or [int, int]",
        "array-like or (array-like, array_like)", "{PyCapsule, ctypes function pointer}",
    ],
)  # fmt: skip
def test_a_heading_with_a_part_that_is_not_known_has_no_target(heading: str) -> None:
    assert types_of(heading) is None


def test_a_word_stands_for_one_label() -> None:
    words = ["none", "array_like", "bool", "callable", "dict", "float", "int", "list", "ndarray", "scalar", "object",
             "'a'", "series", "sequence", "sparse matrix", "str", "tuple"]  # fmt: skip
    found = {named(f"{word} or {word}s") for word in words if word not in ("none", "'a'")}
    assert found == {*LABELS} - {"None", "options"}


@pytest.mark.parametrize(
    ("heading", "words", "text"),
    [
        ("int", "The axis. versionadded:: 1.2", "The axis."),
        ("int", "As follows:: x = 1", "As follows"),
        ("int", "The axis. deprecated:: 3.0 It is ignored.", "The axis."),
        ("int", "What %(klass)s does.", None),
        ("{klass}", "What it does.", None),
        ("{'a', 'b',", "'c'} The way.", None),
        ("array-like of shape (n,) or \\", "(n, m) The values.", None),
        ("", "It has no type.", None),
    ],
)
def test_a_description_holds_nothing_of_the_heading_and_no_notes_of_versions(
    heading: str, words: str, text: str | None
) -> None:
    assert described(Entry("Parameters", "x", heading, words)) == text


SOURCE = b'''
class SVC:
    """Support vectors.

    Parameters
    ----------
    C : float, default=1.0
        Regularization, the
        inverse of its strength.
    kernel : {'linear', 'rbf'} or callable
        The kernel to be used.
    X, y : array-like
        The data to be fitted.
    rest : Ignored
        Not used, by convention.
    tol : float
        Short.

    Attributes
    ----------
    n_iter_ : int
        The number of iterations.
    """

    def fit(self, C):
        """Fit it.

        Parameters
        ----------
        C : float
            The first of two places.
        C : int
            The other of two places.
        """
'''


def library(**changes: Any) -> Library:
    return Library("sklearn", 20, 15, 300, 20, rows_of)._replace(**changes)


def test_a_parameter_is_a_row_with_its_place_and_one_of_an_unknown_type_is_rejected() -> None:
    found = {row.origin: row for row in rows_of(SOURCE, "sklearn/svm.py", library())}
    rows = {place.rpartition(":")[2]: (row.text, row.label) for place, row in found.items() if isinstance(row, RawRow)}
    assert rows == {
        "SVC.C": ("Regularization, the inverse of its strength.", '["float"]'),
        "SVC.kernel": ("The kernel to be used.", '["callable","options"]'),
        "SVC.X,y": ("The data to be fitted.", '["array_like"]'),
        "SVC.fit.C": ("The first of two places.", '["float"]'),
        "SVC.fit.C#2": ("The other of two places.", '["int"]'),
    }
    assert {row.group for row in found.values() if isinstance(row, RawRow)} == {"sklearn/svm.py"}
    (rejected,) = (row for row in found.values() if isinstance(row, RejectedRow))
    assert (rejected.origin, rejected.detail) == (
        "sklearn/svm.py:SVC.rest", "the heading 'Ignored' names a type that is not known"
    )  # fmt: skip


def test_rows_that_are_rejected_are_counted_and_not_drawn() -> None:
    drawn = draw(library(name="numpy", rows=40))
    assert len(drawn.rows) == 40
    assert all(isinstance(row, RawRow) and row.label for row in drawn.rows)
    assert drawn.rejected > 0


def test_targets_are_as_the_task_writes_them_and_the_same_for_any_number_of_processes() -> None:
    libraries = [library(name=name, rows=60, min_chars=20) for name in ("numpy", "pandas")]
    one, two = (list(read_all(libraries, workers)) for workers in (1, 2))
    assert one == two
    assert list(DATA.read(one)) == one
    assert len({row.origin for row in one}) == 120
    labels = Counter(label for row in one for label in from_text(row.label or ""))
    assert set(labels) <= set(LABELS)
    assert labels["int"] + labels["bool"] > 20


def test_the_worked_project_is_what_the_task_starts_with() -> None:
    params = load_params(OURS / "projects/types/params.yaml")
    assert (params.task.name, params.task.measure) == ("multilabel_classification", SETTINGS.measures[0])
    docstrings = {f"ingest.docstrings.{name}": value for name, value in params.ingest.docstrings.model_dump().items()}
    assert docstrings | {"ingest.source": params.ingest.source} == dict(SETTINGS.corpus)
    assert (OURS / "projects/types" / params.ingest.path).name == "constraints.txt"
