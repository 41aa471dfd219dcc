"""The answers of `winnow predict`: one line for each row, in the order of the rows.

A row without text, or one that cannot be read, is answered with a null, so that answers and rows never shift; at the
end, the number of such rows and the place of the first are reported. The reading of files is in flows.cli.asked, which
need not be loaded for texts on the command line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from flows.answering.rounded import rounded
from stages.backends.records import asked, records

if TYPE_CHECKING:
    from stages.core.contracts import Outputs, Runner, Text
    from stages.reading.lines import Fault
    from stages.tasks.contract import TaskAnswers

BATCH = 64  # rows that are answered together; no more are held


class Row(NamedTuple):
    """A row of a file: its text, or the two of a pair; or why it has no answer."""

    where: str
    """ "tickets.csv, line 17"."""
    texts: tuple[str | None, ...]
    fault: Fault | None


class Unanswered:
    """Counts the rows of a file, and those without an answer by reason."""

    def __init__(self) -> None:
        self.rows = 0
        self.reasons: Counter[str] = Counter()
        self._first: Row | None = None

    def add(self, row: Row) -> None:
        self.rows += 1
        if row.fault:
            self.reasons[row.fault.reason] += 1
            self._first = self._first or row

    @property
    def are_all(self) -> bool:
        """Whether there were rows and none of them has an answer."""
        return 0 < self.rows == self.reasons.total()

    def __str__(self) -> str:
        """One line; empty where every row has its answer."""
        if self._first is None or self._first.fault is None:
            return ""
        by_reason = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common())
        return (
            f"{self.reasons.total():,} of {self.rows:,} rows have no answer: {by_reason}. "
            f"The first: {self._first.where}: {self._first.fault.detail}."
        )


def rows_of_texts(texts: Iterable[Text]) -> Iterator[Row]:
    """Texts, or pairs, of which none is empty."""
    for number, text in enumerate(texts, start=1):
        yield Row(f"text {number}", (text,) if isinstance(text, str) else text, None)


def answers(
    rows: Iterator[Row], runner: Runner, task: TaskAnswers, unanswered: Unanswered, *, as_json: bool
) -> Iterator[str]:
    """One line of output for each row, in order; rows are read, answered and discarded in batches."""
    while batch := list(islice(rows, BATCH)):
        batch, texts, outputs = asked_of(batch, runner)
        found = records(outputs, texts, task, runner.space) if outputs else iter(())
        for row in batch:
            unanswered.add(row)
            record: Mapping[str, Any] = next(found) if row.fault is None else task.nothing
            yield _object(row.texts, record) if as_json else _columns(row.texts, task.shown(record))


def asked_of(rows: Sequence[Row], runner: Runner) -> tuple[list[Row], list[Text], Outputs | None]:
    """The rows, now also with the faults for which nothing can be written; the texts of the others, and their outputs.

    None where there are no others.
    """
    texts = [text_of(row) for row in rows if row.fault is None]
    if not texts:
        return list(rows), [], None
    outputs, reasons = asked(runner, texts)
    if not reasons:
        return list(rows), texts, outputs
    faults = {[row for row in rows if row.fault is None][at]: reason for at, reason in reasons.items()}
    found = [_unwritable(row, faults[row]) if row in faults else row for row in rows]
    return found, [text for at, text in enumerate(texts) if at not in reasons], outputs


def _unwritable(row: Row, reason: str) -> Row:
    from stages.reading.lines import Fault

    return row._replace(fault=Fault("unwritable", f"the text {reason.rstrip('.')}"))


def text_of(row: Row) -> Text:
    """What a row without a fault asks: its text, or both of a pair."""
    whole = tuple(text for text in row.texts if text is not None)
    return whole[0] if len(whole) == 1 else (whole[0], whole[1])


def _columns(texts: tuple[str | None, ...], shown: str) -> str:
    return "\t".join([shown, *(" ".join((text or "").split()) for text in texts)])


def _object(texts: tuple[str | None, ...], record: Mapping[str, Any]) -> str:
    return json.dumps({**dict(zip(("text", "text_pair"), texts, strict=False)), **rounded(record)}, ensure_ascii=False)
