"""The rows of a file with all of their columns, for answers that are written beside them.

csv, tsv      ── read_records, of all columns ─────────────────────┐
parquet       ── read_records, of the texts; all columns beside ───┼──> SourceRow: the row to answer, and its columns
jsonl         ── an object a line, whole ──────────────────────────┤
lines of text ── the text alone ───────────────────────────────────┘

Only the texts are judged: what is in another column, bytes say, is no fault of a row.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from flows.cli import asked
from flows.cli.answers import Row
from flows.cli.asked import Columns
from stages.core.contracts import as_text
from stages.reading import nested
from stages.reading.errors import one_line
from stages.reading.json_lines import object_in, refuse_array, values_of
from stages.reading.lines import Fault, Line, encoding_of, lines_of
from stages.reading.parquet import Table, UnlikelyError
from stages.reading.records import DELIMITERS, LARGEST_FIELD, Format, columns_of, read_records
from stages.reading.storage import DataFile, local_file, opened
from stages.reading.values import Wanted, column_of, fault_of

HEADER_LINES = 100  # lines that a header may have, where newlines are in its names
TEXTS = ("text", "text_pair")  # the columns of what has none: lines of text

Tell = Callable[[str], object]


class SourceRow(NamedTuple):
    """A row of a file."""

    row: Row
    own: Mapping[str, Any]
    """Its columns, as the file has them; of a row that cannot be taken apart none."""


class Source(NamedTuple):
    """A file that is to be answered."""

    columns: Mapping[str, pa.DataType | None]
    """The names of its columns; their types where the file has types."""
    rows: Iterator[SourceRow]


def open_lines(file: str, *, are_pairs: bool) -> Source:
    """The lines of a text file, or of the standard input ("-")."""
    names = TEXTS[: 1 + are_pairs]
    rows = (
        SourceRow(row, {} if None in row.texts else dict(zip(names, row.texts, strict=True)))
        for row in asked.rows_of_lines(file, are_pairs=are_pairs)
    )
    return Source(dict.fromkeys(names), rows)


def open_table(file: str, columns: Columns, opener: Callable[[], BinaryIO], tell: Tell) -> Source:
    """The rows of a table; `opener` opens it, and `tell` is called with what a user should know.

    Raises ValueError, with the columns that are there, where one that holds texts is not.
    """
    data = DataFile(Path(file).name, file, opener)
    with opened(data) as stream:  # what is no such file is told before anything else
        first = _first(data, stream, columns)
    if first.doubles:
        names = ", ".join(name[:40] or "(without a name)" for name in first.doubles)
        tell(f"{file}: columns whose name is there more than once are left out: {names}.")
    if data.ending in (".jsonl", ".json") and not first.is_nested:
        if first.columns:
            columns_of(list(first.columns), _wanted(columns), file)
        rows = _json_rows(data, columns)
    else:
        read = _parquet_rows if data.ending == ".parquet" else _record_rows
        rows = read(data, columns, list(first.columns), tell)
    lacking = [name for name in columns.names.values() if column_of(name, first.columns) is None]
    return Source({**first.columns, **dict.fromkeys(lacking)}, rows)


def local_opener(file: str) -> Callable[[], BinaryIO]:
    """What opens a file of this machine."""
    return local_file(Path(file), file).open


class _First(NamedTuple):
    columns: Mapping[str, pa.DataType | None]
    doubles: Sequence[str] = ()
    """Names that several columns have."""
    is_nested: bool = False


def _first(data: DataFile, stream: BinaryIO, columns: Columns) -> _First:
    """The names that the columns of a file have, of a jsonl those of all its lines; none of a header without texts."""
    if data.ending == ".parquet":
        return _schema(data, stream)
    codec = encoding_of(stream, columns.encoding, data.shown, has_params=columns.has_params)
    if data.ending == ".json" and nested.is_nested(stream, codec):
        return _First({}, is_nested=True)
    is_json = data.ending in (".jsonl", ".json")
    lines = lines_of(stream, codec, max_chars=columns.max_chars, newline="\n" if is_json else "")
    if is_json:
        return _First(dict.fromkeys(_keys(lines)))
    texts = (line.text for line in lines)
    whole = itertools.dropwhile(lambda text: not text.strip(), texts)
    names = _header(list(itertools.islice(whole, HEADER_LINES)), {*columns.names.values()})
    doubles = _doubles(names)
    return _First(dict.fromkeys(name for name in names if name not in doubles), doubles)


def _doubles(names: Sequence[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _schema(data: DataFile, stream: BinaryIO) -> _First:
    with tempfile.TemporaryFile() as unzipped:
        if data.is_gzipped:  # Parquet is read from its end
            shutil.copyfileobj(stream, unzipped)
        try:
            schema = pq.read_schema(unzipped if data.is_gzipped else stream)
        except (pa.ArrowException, OSError):  # `read_records` says what is wrong with it
            return _First({})
    doubles = _doubles(schema.names)
    return _First({field.name: field.type for field in schema if field.name not in doubles}, doubles)


def _header(lines: Sequence[str], texts: set[str]) -> list[str]:
    """The names in a header, with the separator by which it has the columns of texts; it may go over several lines."""
    csv.field_size_limit(LARGEST_FIELD)
    for is_spaced, delimiter in itertools.product((False, True), DELIMITERS):
        with contextlib.suppress(csv.Error):  # `read_records` says what is wrong with it
            names = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=is_spaced, strict=True), [])
            if texts <= set(names):
                return names
    return []


def _keys(lines: Iterator[Line]) -> Iterator[str]:
    """The keys of the objects in some lines."""
    for line in lines:
        found = object_in(line)
        if not isinstance(found, Fault):
            yield from found


def _record_rows(data: DataFile, columns: Columns, found: Sequence[str], tell: Tell) -> Iterator[SourceRow]:
    texts = {one.column: one for one in _wanted(columns)}
    wanted = [texts.get(name) or Wanted(name, "ingest.keep_columns") for name in dict.fromkeys([*found, *texts])]
    names = [one.column for one in wanted]
    places = [names.index(name) for name in columns.names.values()]
    records = read_records(data, Format(wanted, columns.encoding, columns.max_chars, columns.has_params), tell)
    for record in records:
        where = f"{data.shown}, line {record.place}"
        if record.fault:
            yield _unread(where, record.fault, columns, {})
        else:
            row = asked.row_of(where, [as_text(record.values[place]) for place in places])
            yield SourceRow(row, dict(zip(names, record.values, strict=True)))


def _parquet_rows(data: DataFile, columns: Columns, found: Sequence[str], tell: Tell) -> Iterator[SourceRow]:
    """Each row with all columns, whatever is in them; the texts are read, and judged, as for training."""
    wanted = _wanted(columns)
    records = read_records(data, Format(wanted, columns.encoding, columns.max_chars, columns.has_params), tell)
    for record, values in zip(records, _values(data, found), strict=True):
        where, own = f"{data.shown}, row {record.place}", dict(zip(found, values, strict=True))
        if record.fault:
            yield _unread(where, record.fault, columns, own)
        else:
            yield SourceRow(asked.row_of(where, [as_text(value) for value in record.values]), own)


def _values(data: DataFile, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The values of these columns, row by row."""
    with opened(data) as stream, tempfile.TemporaryFile() as unzipped:
        if data.is_gzipped:
            shutil.copyfileobj(stream, unzipped)
        try:
            yield from Table(cast(BinaryIO, unzipped) if data.is_gzipped else stream).rows(names, None)
        except UnlikelyError as error:
            raise ValueError(
                f"{data.shown} has a column that unzips to far more than is stored of it: {error}."
            ) from None
        except pa.ArrowException as error:
            raise ValueError(f"{data.shown} is not a whole Parquet file: {one_line(error)}. Write it again.") from None


def _wanted(columns: Columns) -> list[Wanted]:
    return [Wanted(column, option) for option, column in columns.names.items()]


def _unread(where: str, fault: Fault, columns: Columns, own: Mapping[str, Any]) -> SourceRow:
    shown = fault if columns.has_params else asked.without_params(fault)
    return SourceRow(asked.unread(where, shown, are_pairs=len(columns.names) == 2), own)


def _json_rows(data: DataFile, columns: Columns) -> Iterator[SourceRow]:
    """Each line as an object, whole: objects need not have the same keys."""
    wanted, is_first = _wanted(columns), True
    with opened(data) as stream:
        codec = encoding_of(stream, columns.encoding, data.shown, has_params=columns.has_params)
        for line in lines_of(stream, codec, max_chars=columns.max_chars, newline="\n"):
            if not line.text.strip():
                continue
            if is_first and data.ending == ".json":
                refuse_array(line, data.shown)
            is_first = False
            where = f"{data.shown}, line {line.number}"
            found, texts = _object(line, wanted, columns.max_chars)
            if isinstance(texts, Fault):
                yield _unread(where, texts, columns, found)
            else:
                yield SourceRow(asked.row_of(where, list(map(as_text, texts))), found)


def _object(line: Line, wanted: Sequence[Wanted], max_chars: int) -> tuple[dict[str, Any], list[Any] | Fault]:
    """The object in a line, empty where there is none; and its texts, or what is wrong with it."""
    found = object_in(line)
    if isinstance(found, Fault):
        return {}, found
    values = values_of(found, wanted)
    if isinstance(values, Fault):
        return found, values
    fault = fault_of(values, wanted, max_chars)
    return found, fault[0] if fault else values
