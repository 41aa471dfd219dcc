"""Targets as they are read: in the form that the task gives them, and the number of those written otherwise."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.core.contracts import TARGET, WHOLE_NUMBER, RawRow, RejectedRow, is_number
from stages.core.files import publish
from stages.tasks.contract import TaskData

log = logging.getLogger("winnow")

EXAMPLES = 3  # of targets that were written otherwise, in the log


class Targets:
    """The rows as a task reads them, and statistics of their targets so far."""

    def __init__(self, data: TaskData) -> None:
        self.rewritten = 0
        """Rows whose target the source has in another form; 0 for a task whose targets are lists and objects there, and
        for one whose targets are counted of its texts."""
        self.whole = 0
        """Those of them whose target is then a number such as 1.0, which is written as 1 where all are numbers."""
        self.are_numbers = data.numbers
        """Whether the classes are numbers that are to be written alike."""
        self._data = data
        self._examples: dict[str, str | None] = {}

    def read(self, rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
        """The rows with their targets as canonical texts, so that those that mean the same are the same."""
        given, to_read = itertools.tee(rows)
        for was, row in zip(given, self._data.read(to_read), strict=True):
            if isinstance(was, RawRow) and isinstance(row, RawRow) and was.label is not None:
                if row.label != was.label and TARGET not in self._data.structured and self._data.writes != "text":
                    self._note(was.label, row.label)
                self.are_numbers &= row.label is None or is_number(row.label)
            yield row

    def _note(self, was: str, label: str | None) -> None:
        self.rewritten += 1
        self.whole += bool(re.match(WHOLE_NUMBER, label or ""))
        if len(self._examples) < EXAMPLES:
            self._examples[was] = label

    def tell(self) -> None:
        """Log the number of labels that are written otherwise than in the source, with some original forms."""
        if self.rewritten:
            shown = ", ".join(f"{was!a} is {label!a}" for was, label in self._examples.items())
            such = f", such as {shown}" if shown else ": where all are numbers, 1.0 is 1"
            log.warning("ingest: %s rows have labels that are written in one form here%s.", f"{self.rewritten:,}", such)


def write_whole_numbers(raw: Path) -> int:
    """Write labels such as 1.0 as 1, as typed sources give them. Returns the number of rows changed.

    It is for a file all of whose labels are numbers: of others, such as versions, 1.0 may be a name.
    """
    with pq.ParquetFile(raw) as rows:
        groups = range(rows.num_row_groups)
        if not any(_whole(rows.read_row_group(at, columns=["label"])["label"]) for at in groups):
            return 0
        changed = 0
        with publish(raw) as draft, pq.ParquetWriter(draft, rows.schema_arrow, compression="zstd") as written:
            for at in groups:
                table = rows.read_row_group(at)
                changed += _whole(table["label"])
                labels = pc.replace_substring_regex(table["label"], WHOLE_NUMBER, r"\1")
                written.write_table(table.set_column(table.column_names.index("label"), "label", labels))
    return changed


def _whole(labels: pa.ChunkedArray) -> int:
    return pc.sum(pc.match_substring_regex(labels, WHOLE_NUMBER)).as_py() or 0
