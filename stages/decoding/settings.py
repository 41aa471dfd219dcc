"""Whether settings of generation go together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from stages.core.contracts import LARGEST_PENALTY, LARGEST_POWER, SMALLEST_PENALTY, Generation

NAME = 40  # characters that are looked at, and shown, of a name that is no setting


def adjusted(usual: Generation, settings: Mapping[str, Any]) -> Generation:
    """The settings `usual`, with others by their names. Raises ValueError for a name or a value that is none."""
    for name in settings:
        if name not in Generation._fields:
            near = get_close_matches(name[:NAME], Generation._fields, 1)
            meant = f" Did you mean '{near[0]}'?" if near else ""
            allowed = ", ".join(Generation._fields)
            raise ValueError(f"{name[:NAME]!r} is no setting of writing. Allowed: {allowed}.{meant}")
    stop = settings.get("stop")
    given = {**settings, "stop": tuple(stop)} if isinstance(stop, list) else settings
    found = usual._replace(**given)
    refuse_faulty(found)
    return found


def refuse_faulty(how: Generation) -> None:
    """Raise ValueError for settings by which nothing can be written; all of them are told."""
    if found := list(faults(how)):
        raise ValueError(" ".join(found))


def faults(how: Generation) -> Iterator[str]:
    """A sentence for each setting that is wrong: its name, what was found, what is allowed."""
    for name, value, least in (("max_new_tokens", how.max_new_tokens, 1), ("beams", how.beams, 1),
                               ("top_k", how.top_k, 0), ("seed", how.seed, 0)):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            yield f"{name} is {value!r}. Allowed: whole numbers from {least}."
    if not (_is_number(how.temperature) and how.temperature >= 0):
        yield f"temperature is {how.temperature!r}. Allowed: 0 (always the likeliest token) and above."
    if not (_is_number(how.top_p) and 0 < how.top_p <= 1):
        yield f"top_p is {how.top_p!r}. Allowed: above 0, up to 1 (all tokens)."
    penalty = how.repetition_penalty
    if not (_is_number(penalty) and SMALLEST_PENALTY <= penalty <= LARGEST_PENALTY):
        yield f"repetition_penalty is {penalty!r}. Allowed: from {SMALLEST_PENALTY} to {LARGEST_PENALTY}; 1 is none."
    if not (_is_number(how.length_penalty) and abs(how.length_penalty) <= LARGEST_POWER):
        yield (
            f"length_penalty is {how.length_penalty!r}. Allowed: from {-LARGEST_POWER} to {LARGEST_POWER}; 1 divides by"
            " the length."
        )
    if not isinstance(how.stop, tuple) or not all(isinstance(one, str) and one for one in how.stop):
        yield f"stop is {how.stop!r}. Allowed: a list of texts, none of them empty."
    if how.beams != 1 and how.temperature:
        yield (
            f"beams is {how.beams!r} and temperature {how.temperature!r}. Beams are searched by probability alone: set"
            " temperature to 0, or beams to 1 to draw tokens."
        )


def _is_number(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
