"""Words with a tag each, as ["Ada", "wrote"] and ["person", "O"], become a text and its spans."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from stages.core.contracts import TARGET, TEXT, RawRow, RejectedRow
from stages.tasks.contract import TaskData
from stages.tasks.shared import carrying, spans


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    for row in rows:
        if isinstance(row, RejectedRow) or row.text is None or row.label is None:
            yield row
            continue
        words, tags = json.loads(row.text), json.loads(row.label)
        if len(words) != len(tags):
            yield RejectedRow(row.origin, "bad_target", f"{len(tags)} tags for {len(words)} words", row.label)
            continue
        text, offsets = spans.joined(words)
        yield row._replace(text=text, label=spans.as_text(spans.of_tags(tags, offsets)))


def kinds(target: str) -> tuple[str, ...]:
    return tuple(span.type for span in spans.from_text(target))


def carried(target: str, before: str, after: str) -> str | None:
    moved = carrying.carried(spans.from_text(target), before, after)
    return None if moved is None else spans.as_text(moved)


DATA = TaskData(read=read, kinds=kinds, carried=carried, exclusive=False, structured=frozenset({TEXT, TARGET}))
