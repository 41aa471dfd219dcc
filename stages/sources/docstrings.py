"""Source `docstrings`: the first paragraph of every docstring of installed libraries, labelled by library.

A library's own names are masked, so that a model has to learn its subject. How files
are chosen and rows are drawn: stages/reading/libraries.
"""

from __future__ import annotations

import functools
import re

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, docstrings, order, paragraphs, reader

MASK = "LIBRARY"
ALIASES = {
    "daft": ("getdaft",),
    "datasets": ("hugging face", "huggingface"),
    "great_expectations": ("gx",),
    "matplotlib": ("mpl",),
    "networkx": ("nx",),
    "numpy": ("np",),
    "onnxruntime": ("onnx runtime", "ort"),
    "pandas": ("pd",),
    "polars": ("pl",),
    "sklearn": ("scikit-learn", "scikit"),
    "sqlalchemy": ("sa",),
    "tensorflow": ("tf",),
    "torch": ("pytorch",),
    "transformers": ("hugging face", "huggingface"),
}
LONGEST_SHORT_NAME = 4  # these ("np", "daft") are masked as whole words only, longer ones also inside words


def first_paragraphs(source: bytes, path: str, library: Library) -> list[RawRow]:
    """A row for each docstring of a file, in the order of a hash. Raises SyntaxError where the source is none."""
    mask = own_names(library.name)
    found = sorted(docstrings(source, path), key=lambda one: order(library.seed, one[0]))
    return [
        RawRow(mask.sub(MASK, paragraphs(docstring)[0]), library.name, origin, group=path)
        for origin, docstring in found
    ]


@functools.cache
def own_names(library: str) -> re.Pattern[str]:
    """A pattern of names that give a library away: its name and aliases in any case; short ones as whole words only."""
    names = sorted({library, *ALIASES.get(library, ())}, key=lambda name: (-len(name), name))
    return re.compile("|".join(_name_pattern(name) for name in names), re.IGNORECASE)


def _name_pattern(name: str) -> str:
    pattern = r"[\s_-]?".join(re.escape(part) for part in re.split(r"[\s_-]", name))
    if len(name) > LONGEST_SHORT_NAME:
        return pattern
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


read = reader(first_paragraphs)
