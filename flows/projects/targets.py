"""Columns that could be the target, one label a text, and what the words of the texts tell of each.

Rows that are pairs are not tried: what two texts are to each other hangs on more than the words that are in them.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from flows.projects.sample import Sample, is_there
from flows.projects.telling import Told, Words
from stages.tasks.contract import TaskSettings
from stages.tasks.shared import claims
from stages.tasks.shared.claims import Shown

ROWS_A_LABEL = 10  # in the mean; a column with fewer, such as of dates, is named only where the words tell it
TRIED, SHOWN = 8, 4  # columns, at most


def parsed(value: Any) -> Any:
    """The value, or the list that its text is, as JSON or with separators."""
    if isinstance(value, str) and value.strip().startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    if isinstance(value, str) and re.search(r"[;|]", value):
        return re.split(r"\s*[;|]\s*", value)
    return value


def told(
    sample: Sample,
    settings: Mapping[str, TaskSettings],
    text: str,
    taken: Collection[str],
    task: str | None,
    named: str | None,
) -> dict[str, Told]:
    """What the words of `text` tell of the columns that may be labels, and of the one that somebody `named`.

    Nothing where the task has not one class a text. `taken` are columns that are no target, besides the text.
    """
    if sample.parts or (task is not None and settings[task].classes != "one"):
        return {}
    rows = [row for row in sample.rows if is_there(row.get(text))]
    cells = {
        column: [claims.as_text(row[column]) if is_there(row.get(column)) else None for row in rows]
        for column in sample.columns
        if column not in taken and column != text
    }
    labels = {column: len({*values} - {None}) for column, values in cells.items()}
    few = (column for column in cells if column != named and 1 < labels[column] <= len(rows) / 2)
    tried = sorted((column for column in few if _is_of_labels(sample, settings, column)), key=labels.__getitem__)
    tried = tried[:TRIED]
    if named in cells and (task is not None or _is_of_labels(sample, settings, named)):
        tried.append(named)
    words = Words([claims.as_text(row[text]) for row in rows]) if tried else None
    found = {column: words.told(cells[column]) for column in tried} if words else {}
    return {column: one for column, one in found.items() if one is not None}


def _is_of_labels(sample: Sample, settings: Mapping[str, TaskSettings], column: str) -> bool:
    """Whether the task that such a target would be for has one class a text."""
    shown = Shown(sample.columns, None, tuple(parsed(value) for value in sample.values(column)), target=column)
    claimed = claims.strongest({task: own.claim(shown) for task, own in settings.items()})
    return claimed is not None and settings[claimed[0]].classes == "one"


def best(told: Mapping[str, Told], columns: Iterable[str]) -> str | None:
    """Of these columns the one that the words tell best; None where they tell none."""
    telling = [column for column in columns if column in told and told[column].tells]
    return max(telling, key=lambda column: told[column].gain, default=None)


def compared(told: Mapping[str, Told], text: str, chosen: str | None) -> Iterator[str]:
    """A line on what was compared, where there was more than the chosen column."""
    others = [column for column, one in told.items() if one.tells or ROWS_A_LABEL * one.labels <= one.rows]
    others = sorted((column for column in others if column != chosen), key=lambda column: -told[column].gain)
    if chosen is None or chosen not in told or not others:
        return
    figures = "; ".join(_figures(column, told[column]) for column in (chosen, *others[:SHOWN]))
    more = f"; and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    other = shlex.quote(others[0]) if len(others) == 1 else "COLUMN"
    yield f"Compared by the words of '{text}': {figures}{more}. Took {chosen}. Otherwise: --label {other}."


def _figures(column: str, told: Told) -> str:
    chance = "" if told.tells else ", no better than chance"
    return (
        f"{column}: {told.labels} labels, the words tell {told.share:.0%} of them{chance} (the commonest alone is"
        f" {told.commonest:.0%})"
    )


def doubted(told: Mapping[str, Told], text: str, chosen: str | None) -> Iterator[str]:
    """A line where the words tell the chosen column no better than chance would."""
    if chosen is None or chosen not in told or told[chosen].tells:
        return
    other = best(told, told)
    share, commonest = (f"{part:.0%}" for part in (told[chosen].share, told[chosen].commonest))
    better = f" They tell {told[other].share:.0%} of those in '{other}': --label {shlex.quote(other)}." if other else ""
    yield (
        f"the words of '{text}' tell {share} of the labels in '{chosen}', no better than chance: the commonest alone is"
        f" {commonest}. Check that '{chosen}' says what a text is about, and that each label stands beside its own"
        f" text.{better}"
    )
