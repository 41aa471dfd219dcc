"""Words for people in params.yaml: a published list by its name, several, or sets of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from stages.core.params.values import Name

ListName = Literal["gender_en", "names_en", "religion_en", "origin_en", "sexuality_en"]
WordSets = list[Annotated[list[Name], Field(min_length=2)]]
IDENTITY_WORDS = "identity_words"
"""The name of a column that no data has: for whom the words of a row stand."""


def _form(found: Any) -> str:
    if isinstance(found, str):
        return "a name"
    return "names" if isinstance(found, list) and any(isinstance(one, str) for one in found) else "sets"


WordLists = Annotated[
    Annotated[ListName, Tag("a name")] | Annotated[list[ListName], Tag("names")] | Annotated[WordSets, Tag("sets")],
    Discriminator(_form),
]
"""A list, several lists, or sets of words of one's own."""


def refuse_repeated(key: str, lists: str | Sequence[str] | Sequence[Sequence[str]]) -> None:
    """Raises ValueError where a word stands in two places of sets, so that what it is swapped for is unclear."""
    words = [word.lower() for words in lists if isinstance(words, list) for word in words]
    if repeated := sorted({word for word in words if words.count(word) > 1}):
        raise ValueError(f"{key} has '{repeated[0]}' more than once: what it is swapped for is unclear")
    names = [name for name in lists if isinstance(lists, list) and isinstance(name, str)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{key} has the list '{twice[0]}' more than once")
