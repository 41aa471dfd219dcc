"""Passages of a text, quoted with their place, as one canonical text: '[[177,"Denver Broncos"]]', '[]' for none.

They keep their order, as the first may mean more than the others; each stands once.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from stages.tasks.shared.carrying import carried
from stages.tasks.shared.spans import Span

FLAWS = ("outside", "empty", "altered")


class Quote(NamedTuple):
    """What stands in a text from the character `start` on, counted from 0."""

    start: int
    text: str

    @property
    def end(self) -> int:
        """The character behind it."""
        return self.start + len(self.text)


def as_text(quotes: Iterable[Quote]) -> str:
    """The quotes as one canonical text: compact JSON, in their order, each once."""
    return json.dumps(list(dict.fromkeys(quotes)), separators=(",", ":"), ensure_ascii=False)


@functools.lru_cache(maxsize=1 << 16)
def from_text(text: str) -> tuple[Quote, ...]:
    """The quotes of such a text. Raises ValueError where it is no list of [start, text]."""
    try:
        found = json.loads(text)
        quotes = [Quote(start, words) for start, words in found] if isinstance(found, list) else None
    except (ValueError, TypeError):
        quotes = None
    if quotes is None:
        raise ValueError(f"{text[:80]!r} is no list of quotes. Allowed: [[start, text], ...]")
    for quote in quotes:
        if type(quote.start) is not int or not isinstance(quote.text, str):
            raise ValueError(f"{list(quote)} is no quote. Allowed: a whole number and a text.")
    return tuple(quotes)


def kinds(text: str) -> tuple[str]:
    """Whether such a text has a quote: the answer to a question."""
    return ("answerable" if from_text(text) else "unanswerable",)


def quoted(text: str, start: int, end: int) -> Quote:
    """The characters `start` to `end` - 1 of a text, without blanks at their ends."""
    inside = text[start:end]
    return Quote(start + len(inside) - len(inside.lstrip()), inside.strip())


def flaws(text: str, quotes: Sequence[Quote]) -> Iterator[str]:
    """The mistakes of quotes of a text, each one of FLAWS."""
    for quote in quotes:
        if not quote.text.strip():
            yield "empty"
        elif not 0 <= quote.start <= quote.end <= len(text):
            yield "outside"
        elif text[quote.start : quote.end] != quote.text:
            yield "altered"


def moved(quotes: Sequence[Quote], before: str, after: str) -> list[Quote | None]:
    """The quotes of `before` in `after`, the same text once it was changed; None for each that cannot be told."""
    found: list[Quote | None] = []
    for quote in quotes:
        spans = carried([Span(quote.start, quote.end, "quote")], before, after)
        found.append(quoted(after, spans[0].start, spans[0].end) if spans else None)
    return found
