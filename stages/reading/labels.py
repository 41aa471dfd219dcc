"""Labels as they are read: one form for those that look the same, and the number of those written otherwise."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.core.contracts import WHOLE_NUMBER, RawRow, RejectedRow, as_label, is_number
from stages.core.files import publish

log = logging.getLogger("winnow")

EXAMPLES = 3  # of labels that were written otherwise, in the log


class Labels:
    """Statistics of the labels read so far."""

    def __init__(self) -> None:
        self.rewritten = 0
        self.are_numbers = True
        self._examples: dict[str, str | None] = {}

    def in_one_form(self, rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
        """The rows with their labels in one form each, so that those that look the same are the same."""
        for row in rows:
            if isinstance(row, RawRow) and row.label is not None:
                label = as_label(row.label)
                if label != row.label:
                    self._note(row.label, label)
                self.are_numbers &= label is None or is_number(label)
                yield row._replace(label=label)
            else:
                yield row

    def _note(self, was: str, label: str | None) -> None:
        self.rewritten += 1
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
