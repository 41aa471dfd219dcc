"""Answers as data has them: quotes of a text, with the character that each begins at.

target                                                            becomes
{"text": ["Ada", "Ada L."], "answer_start": [0, 0]}               [[0,"Ada"],[0,"Ada L."]]    the Hub's layout
[{"text": "Ada", "answer_start": 0}]                              [[0,"Ada"]]                 SQuAD's
[[0, "Ada"]]                                                      the same
[], and {"text": [], "answer_start": []}                          []                          the text does not say
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stages.core.contracts import TARGET, RawRow, RejectedRow
from stages.tasks.contract import Flaws, TaskData
from stages.tasks.shared import quotes
from stages.tasks.shared.cells import SHOWN, each_row, shown
from stages.tasks.shared.quotes import Quote

ALLOWED = (
    'Allowed: {"text": [...], "answer_start": [...]}, or [{"text": ..., "answer_start": ...}, ...], or [[start, text],'
    " ...], counted in characters from 0; [] where the text does not answer the question"
)


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with canonical answers, grouped by their texts; those whose answers are no quotes as `bad_target`.

    The questions about one text belong together, unless the source has groups of its own.
    """
    return each_row(rows, _with_answers, told_by=lambda row: row.text_pair or row.text)


def _with_answers(row: RawRow) -> RawRow:
    if row.text is None:
        return row
    group = row.group or f"text {hashlib.sha256(row.text.encode('utf-8', 'replace')).hexdigest()[:16]}"
    target = None if row.label is None else quotes.as_text(_answers(row.label, row.text))
    return row._replace(label=target, group=group)


def _answers(target: str, text: str) -> list[Quote]:
    """The answers of a target. Raises ValueError with what is wrong with one of them, and the next step."""
    try:
        found = json.loads(target)
    except ValueError:
        raise ValueError(f"the answers {target[:SHOWN]!r} are no JSON. {ALLOWED}") from None
    return [_trimmed(_checked(*_parts(one), text)) for one in _listed(found)]


def _listed(found: Any) -> list[Any]:
    """The answers one by one, as data has them."""
    if not isinstance(found, Mapping):
        if isinstance(found, list):
            return found
        raise ValueError(f"the answers are {shown(found)}. {ALLOWED}")
    if "text" not in found or "answer_start" not in found:
        lacking = "text" if "text" not in found else "answer_start"
        raise ValueError(f"the answers have no '{lacking}', but {', '.join(found) or 'nothing'}. {ALLOWED}")
    texts, starts = found["text"], found["answer_start"]
    if not isinstance(texts, list) and not isinstance(starts, list):
        return [found]
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise ValueError(
            f"of the answers 'text' is {shown(texts)} and 'answer_start' {shown(starts)}, not as many of the one as"
            f" of the other. {ALLOWED}"
        )
    return [list(pair) for pair in zip(starts, texts, strict=True)]


def _parts(found: Any) -> tuple[int, str]:
    """The start and the text of one answer."""
    match [found.get("answer_start"), found.get("text")] if isinstance(found, Mapping) else found:
        case [int(start), str(text)] if not isinstance(start, bool):
            return start, text
    raise ValueError(f"{shown(found)} is no answer: a whole number and a text. {ALLOWED}")


def _checked(start: int, answer: str, text: str) -> Quote:
    """The answer, which stands where it says."""
    if not answer.strip():
        raise ValueError(f"an answer is empty. {ALLOWED}")
    if start >= 0 and text[start : start + len(answer)] == answer:
        return Quote(start, answer)
    told = f"the answer {answer[:SHOWN]!r} is said to begin at character {start} of the text"
    found = f"where {text[start : start + SHOWN]!r} stands" if 0 <= start < len(text) else f"which has {len(text)}"
    raise ValueError(f"{told}, {found}; {_where(answer, start, text)}")


def _where(answer: str, start: int, text: str) -> str:
    """Where the answer stands instead, and the next step."""
    places = [place.start() for place in re.finditer(re.escape(answer), text)]
    if places:
        nearest = min(places, key=lambda place: abs(place - start))
        return (
            f"the nearest such place is {nearest}. Count characters from 0, in the text as the file has it; not bytes,"
            " and not UTF-16 units"
        )
    return "it is nowhere in the text. Quote the text as it is, with its blanks and its capitals"


def _trimmed(answer: Quote) -> Quote:
    """Without blanks at its ends, which no token stands for."""
    blanks = len(answer.text) - len(answer.text.lstrip())
    return Quote(answer.start + blanks, answer.text.strip())


def carried(target: str, before: str, after: str) -> str | None:
    """Those answers that can be told in the cleaned text; None where all are lost."""
    given = quotes.from_text(target)
    found = [quote for quote in quotes.moved(given, before, after) if quote is not None]
    return quotes.as_text(found) if found or not given else None


def flaws(text: str, target: str) -> tuple[int, ...]:
    """How many mistakes of each kind in FLAWS the answers of a row have."""
    found = Counter(quotes.flaws(text, quotes.from_text(target)))
    return tuple(found[kind] for kind in quotes.FLAWS)


def quoted(target: str, _text: str) -> list[tuple[str, str]]:
    """The words of each answer."""
    return [("", quote.text) for quote in quotes.from_text(target)]


DATA = TaskData(
    read=read, kinds=quotes.kinds, carried=carried, exclusive=False, structured=frozenset({TARGET}), quoted=quoted,
    passages="near",
    flaws=Flaws(tuple(f"answers_{kind}" for kind in quotes.FLAWS), flaws),
)  # fmt: skip
