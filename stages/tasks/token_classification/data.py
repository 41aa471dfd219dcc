"""Labelled spans as data has them: words with their tags, or a text with its spans.

text                            target                                                becomes
["Ada", "wrote"]                ["B-person", "O"], also BIOES, BILOU or IO            Ada wrote  [[0,3,"person"]]
Ada wrote                       [{"start": 0, "end": 3, "label": "person"}]           the same
Ada wrote                       [[0, 3, "person"]]                                    the same
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stages.core.contracts import TARGET, TEXT, RawRow, RejectedRow, as_label
from stages.tasks.contract import Flaws, TaskData
from stages.tasks.shared import carrying, spans
from stages.tasks.shared.cells import each_row, list_of, shown
from stages.tasks.shared.spans import Span

ALLOWED = (
    'Allowed: a list of tags, one for each word; or spans, as [[start, end, type], ...] or [{"start": ..., "end": ...,'
    ' "label": ...}, ...], counted in characters from 0; [] for a text without any'
)


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with plain texts and canonical spans; those whose spans cannot be right as `bad_target`."""
    return each_row(rows, _with_spans)


def _with_spans(row: RawRow) -> RawRow:
    if row.text is None:
        return row
    text, target = _read(row.text, row.label)
    return row._replace(text=text, label=target)


def _read(text: str, target: str | None) -> tuple[str | None, str | None]:
    """The plain text, and the canonical spans. Raises ValueError with what is wrong with them, and what is allowed."""
    words = _words(text)
    if target is None:
        return (text if words is None else spans.joined(words)[0] or None), None
    found = list_of(target, allowed=ALLOWED)
    if words is not None and found and not any(isinstance(one, list | Mapping) for one in found):
        text, own = _of_words(words, found)
    else:
        if words is not None:  # spans are of the text that the words make
            text = spans.joined(words)[0]
        if found and all(isinstance(tag, str) for tag in found):
            tags = f"{len(found)} tags are those of words" if len(found) > 1 else "1 tag is that of a word"
            raise ValueError(f"{tags}, and the text is no list of texts. {ALLOWED}")
        own = [_span(one) for one in found]
    own = [_trimmed(span, text) for span in own]
    if mistakes := spans.faults(own, len(text)):
        raise ValueError(f"the span {mistakes[0]}. Mend it; spans of one text may not overlap")
    return text or None, spans.as_text(own)


def _words(text: str) -> list[str] | None:
    """The words, where the text is a JSON list of them."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def _of_words(words: Sequence[str], tags: Sequence[Any]) -> tuple[str, list[Span]]:
    if others := [tag for tag in tags if not isinstance(tag, str)]:
        raise ValueError(
            f"{shown(others[0])} is no tag. Give each word the name of its tag, such as B-person; O is none"
        )
    if len(words) != len(tags):
        raise ValueError(f"{len(words)} words have {len(tags)} tags. Give each word one tag; O is that of no span")
    text, offsets = spans.joined(words)
    stripped = [tag.strip() for tag in tags]
    spans.check_tags(stripped)
    found = spans.of_tags(stripped, offsets)
    return text, [span._replace(type=_type(span.type)) for span in found]


def _span(found: Any) -> Span:
    """A span as one of the forms that data has. Raises ValueError where it is none."""
    if isinstance(found, Mapping):
        parts = [found.get("start"), found.get("end"), found.get("label", found.get("type"))]
    else:
        parts = list(found) if isinstance(found, list) else []
    match parts:
        case [int(start), int(end), str(kind)] if not isinstance(start, bool) and not isinstance(end, bool):
            return Span(start, end, _type(kind))
    raise ValueError(f"{shown(found)} is no span. {ALLOWED}")


def _type(kind: str) -> str:
    """Its canonical form, as labels have: types that look the same are one."""
    return as_label(kind) or ""


def _trimmed(span: Span, text: str) -> Span:
    """Without blanks at its ends, which no token stands for."""
    if not 0 <= span.start <= span.end <= len(text):
        return span
    inside = text[span.start : span.end]
    start = span.start + len(inside) - len(inside.lstrip())
    return span._replace(start=start, end=max(start, span.start + len(inside.rstrip())))


def kinds(target: str) -> tuple[str, ...]:
    """The types of its spans, each once, sorted."""
    return tuple(sorted({span.type for span in spans.from_text(target)}))


def carried(target: str, before: str, after: str) -> str | None:
    """The spans in the cleaned text; None where one of them cannot be told."""
    found = carrying.carried(spans.from_text(target), before, after)
    return None if found is None else spans.as_text(found)


def flaws(text: str, target: str) -> tuple[int, ...]:
    """How many mistakes of each kind in FLAWS the spans of a row have."""
    found = Counter(kind for kind, _ in spans.flaws(spans.from_text(target), len(text)))
    return tuple(found[kind] for kind in spans.FLAWS)


def quoted(target: str, text: str) -> list[tuple[str, str]]:
    """The type of each span with how often its words stand before it, and its words."""
    found, folded = [], text.casefold()
    for span in spans.from_text(target):
        words = text[span.start : span.end]
        before = folded[: len(text[: span.start].casefold())].count(words.casefold())
        found.append((f"{span.type} {before}", words))
    return found


DATA = TaskData(
    read=read, kinds=kinds, carried=carried, exclusive=False, structured=frozenset({TEXT, TARGET}), quoted=quoted,
    flaws=Flaws(tuple(f"spans_{kind}" for kind in spans.FLAWS), flaws),
)  # fmt: skip
