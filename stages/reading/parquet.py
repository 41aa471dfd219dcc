"""Parquet to rows, with bounded memory for decoding: a file of some hundred bytes can hold gigabytes of text.

A text that repeats is stored once (as a dictionary), or as its difference from the one before it (delta); decoding
writes each out. Texts of a dictionary stay shared here, and of the others as many rows are decoded at once as fit into
`BATCH_BYTES`. A single page is always unzipped whole by pyarrow: columns that, by the file's own metadata, unzip to far
more than any text does are refused. One with false metadata can still have a page of 2 GB.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 1024  # decoded at once, at most
BATCH_BYTES = 1 << 26  # the same
MAX_RATIO = 1_000  # of unzipped to stored bytes, of a column's part larger than that; texts have some 3 to 20
_DICTIONARY = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


class TooManyBytesError(Exception):
    """A file holds more bytes than allowed."""


class UnlikelyError(Exception):
    """A column unzips to more than any text does; the message names it and its size."""


class Table:
    """A Parquet file in a seekable stream."""

    def __init__(self, stream: BinaryIO) -> None:
        """Raises pyarrow's errors where it is not a whole Parquet file."""
        self._stream = stream
        self._metadata = pq.read_metadata(stream)
        self._schema: pa.Schema = self._metadata.schema.to_arrow_schema()
        # As the schema names them, by which pyarrow reads; what a group of rows calls its parts may be false.
        self._paths = [self._metadata.schema.column(number).path for number in range(self._metadata.num_columns)]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._schema.names)

    def rows(self, names: Sequence[str], max_bytes: int | None) -> Iterator[tuple[Any, ...]]:
        """The values of the named columns, row by row; texts as bytes where one beside them is not UTF-8.

        Raises pyarrow's errors, and TooManyBytesError where the values have over `max_bytes` bytes in all (each counts
        as one at least), whether the file says so or decoding shows it; UnlikelyError by `MAX_RATIO`.
        """
        columns = list(dict.fromkeys(names))
        left = float("inf") if max_bytes is None else max_bytes
        groups = range(self._metadata.num_row_groups)
        stated = sum(size for group in groups for size in self._sizes(group, columns).values())
        if max(stated, self._metadata.num_rows * len(columns)) > left:
            raise TooManyBytesError
        for group, name in itertools.product(groups, columns):
            for chunk in self._chunks(group, name):
                if chunk.total_uncompressed_size > max(BATCH_BYTES, MAX_RATIO * chunk.total_compressed_size):
                    raise UnlikelyError(f"'{name}', {chunk.total_uncompressed_size:,} bytes")
        shared = [name for name in columns if self._is_shared(name)]
        with pq.ParquetFile(self._stream, metadata=self._metadata, read_dictionary=shared) as file:
            for group in groups:
                at_once = self._rows_at_once(group, columns, shared)
                for batch in file.iter_batches(at_once, row_groups=[group], columns=columns):
                    for values in zip(*(_cells(batch.column(name)) for name in names), strict=True):
                        left -= sum(len(value) + 1 if isinstance(value, str | bytes) else 8 for value in values)
                        if left < 0:
                            raise TooManyBytesError
                        yield values

    def _sizes(self, group: int, names: Sequence[str]) -> dict[str, int]:
        """The uncompressed bytes of the named columns in a group of rows, by the file's metadata."""
        return {name: sum(chunk.total_uncompressed_size for chunk in self._chunks(group, name)) for name in names}

    def _chunks(self, group: int, name: str) -> list[Any]:
        """The parts of a column, whose name may hold dots, in a group of rows: several for lists and objects."""
        found = self._metadata.row_group(group)
        return [
            found.column(number)
            for number, path in zip(range(found.num_columns), self._paths, strict=False)
            if f"{path}.".startswith(f"{name}.")
        ]

    def _is_shared(self, name: str) -> bool:
        """Whether the column holds texts that are all in dictionaries, and can be left there."""
        kind = self._schema.field(name).type
        if pa.types.is_dictionary(kind):
            return True
        groups = range(self._metadata.num_row_groups)
        encodings = [{*chunk.encodings} for group in groups for chunk in self._chunks(group, name)]
        return any(is_one(kind) for is_one in _TEXTS) and all(
            found & _DICTIONARY and "DELTA_BYTE_ARRAY" not in found for found in encodings
        )

    def _rows_at_once(self, group: int, names: Sequence[str], shared: Sequence[str]) -> int:
        """How many rows of the group surely decode within `BATCH_BYTES`, if its columns' texts are equally long.

        In a column whose values can be longer than their stored form, any value may be as long as all of it.
        """
        rows = max(self._metadata.row_group(group).num_rows, 1)
        sizes = self._sizes(group, names)
        bytes_a_row = sum(sizes[name] if self._can_grow(group, name, shared) else sizes[name] / rows for name in names)
        return int(min(max(BATCH_BYTES / max(bytes_a_row, 1), 1), BATCH_ROWS))

    def _can_grow(self, group: int, name: str, shared: Sequence[str]) -> bool:
        """Whether values can be longer than their stored form: texts by delta or from a dictionary, lists."""
        if name in shared or pa.types.is_primitive(self._schema.field(name).type):
            return False
        encodings = {encoding for chunk in self._chunks(group, name) for encoding in chunk.encodings}
        return not encodings <= {"PLAIN", "RLE", "BIT_PACKED"} or pa.types.is_nested(self._schema.field(name).type)


def _cells(column: pa.Array) -> list[Any]:
    """The column's values; texts as bytes where one of them is not UTF-8."""
    if not isinstance(column, pa.DictionaryArray):
        return _values(column)
    used = column.indices.unique().drop_null()
    texts = dict(zip(used.to_pylist(), _values(column.dictionary.take(used)), strict=True))
    return [texts.get(index) for index in column.indices.to_pylist()]


def _values(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.cast(pa.large_binary()).to_pylist())
