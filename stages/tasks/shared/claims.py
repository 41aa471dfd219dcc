"""Which task somebody's file is for: what each task is shown of its first rows, and the claim that it makes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SEVERAL = 4  # words of a value, in the mean: fewer are labels
FEW = 20  # different whole numbers, at most, that are taken for classes


@dataclass(frozen=True)
class Shown:
    """The first rows of a file, as far as they tell its task."""

    columns: tuple[str, ...] = ()
    pair: tuple[str, str] | None = None
    """The columns of the two texts, where rows are pairs."""
    values: tuple[Any, ...] = ()
    """Those of the target's column that are there, lists as lists; none: no column can be the target."""
    tags_words: bool = False
    """Whether each word has its tag."""
    target: str | None = None
    """The target's column."""
    parallel: bool = False
    """Whether the columns are files of plain text, and a row is the same line of each."""

    @property
    def distinct(self) -> int:
        """How many different values there are."""
        return len({as_text(value) for value in self.values})

    @property
    def of_lists(self) -> bool:
        """Whether the values are lists, but for one in ten, or hold what the others are one by one."""
        lists = [value for value in self.values if isinstance(value, list)]
        if len(lists) > 0.9 * len(self.values):
            return True
        alone = {as_text(value) for value in self.values if not isinstance(value, list)}
        parts = [as_text(part) for value in lists for part in value]
        return len(lists) > 1 and sum(part in alone for part in parts) > 0.9 * len(parts)

    @property
    def of_texts(self) -> bool:
        """Whether the values are texts of several words, of which hardly two are equal."""
        words = [len(as_text(value).split()) for value in self.values if not isinstance(value, list)]
        several = bool(words) and sum(words) >= SEVERAL * len(self.values)
        return several and not self.of_numbers and self.distinct > 0.8 * len(self.values)

    @property
    def of_amounts(self) -> bool:
        """Whether all are numbers, and some a fraction, or more than FEW differ."""
        if not self.values or not self.of_numbers:
            return False
        return self.distinct > FEW or not all(float(value).is_integer() for value in self.values)

    @property
    def of_numbers(self) -> bool:
        """Whether all are numbers, or texts of one."""
        return all(is_number(value) for value in self.values)


@dataclass(frozen=True)
class Claim:
    """That a file is for the task."""

    strength: int
    """The file is for the task with the greatest: 0 for any values, 1 for their form, 2 and 3 for more that tells."""
    why: str
    """What the target is, as the end of a sentence: "sets of labels, so several may hold for a text."."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values of params.yaml that follow, by their dotted names."""


def is_number(value: Any) -> bool:
    """Whether a value of any type is a number, or a text of one; true, false and NaN are none."""
    if isinstance(value, bool):
        return False
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return float(value) == float(value)
    return False


def as_text(value: Any) -> str:
    """A value of any type as one text, the same for equal ones."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def strongest(claims: Mapping[str, Claim | None]) -> tuple[str, Claim] | None:
    """The task with the strongest claim, the first of equal ones; None where none has any."""
    made = {task: claim for task, claim in claims.items() if claim is not None}
    return max(made.items(), key=lambda one: one[1].strength) if made else None


def in_turn(names: Sequence[Sequence[Any]]) -> list[Any]:
    """The first of each, then the second of each, and so on, without those that were there."""
    longest = max(map(len, names), default=0)
    return list(dict.fromkeys(own[at] for at in range(longest) for own in names if at < len(own)))
