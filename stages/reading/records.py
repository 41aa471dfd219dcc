"""Files to records: csv, tsv, jsonl, parquet, words with tags, and nested JSON, row by row.

An unreadable row is a fault with its place.

Values are not interpreted: "NA" and "null" stay texts.
"""

from __future__ import annotations

import csv
import itertools
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from stages.core.contracts import TARGET, TEXT
from stages.reading import conll, nested
from stages.reading.errors import one_line, too_large
from stages.reading.json_lines import object_in, refuse_array, values_of
from stages.reading.lines import Fault, Line, encoding_of, excerpt, lines_of
from stages.reading.parquet import MAX_RATIO, Table, TooManyBytesError, UnlikelyError
from stages.reading.storage import TAGGED, DataFile, OutOfReachError, opened
from stages.reading.values import Wanted, column_of, fault_of, no_column, value_at

DELIMITERS = (",", ";", "\t", "|")
LARGEST_FIELD = 1 << 30  # csv's own limit, 131,072 characters, is too small; lines come with a limit of their own
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?%?")
_SENTENCE = re.compile(r".{40}|[.!?]\s*$|\S\s+\S+\s+\S+\s+\S", re.DOTALL)  # long; ends like one; four words


class Record(NamedTuple):
    """One row of a file: the values of the wanted columns, or its fault."""

    place: int
    """The line that it starts on (csv, tsv, jsonl, words with tags), or its number (parquet, nested JSON); from 1."""
    values: Sequence[Any]
    fault: Fault | None = None
    excerpt: str = ""
    document: int | None = None
    """Of a sentence, the number of its document, from 1."""


class Format(NamedTuple):
    """The settings of the readers for a file."""

    wanted: Sequence[Wanted]
    encoding: str
    max_chars: int
    has_params: bool = True
    """Whether the encoding comes from a params.yaml, so that messages may say to change it there."""
    max_bytes: int | None = None
    """The number of bytes that a file may hold, unzipped; None: any number."""


def read_records(file: DataFile, how: Format, tell: Callable[[str], object]) -> Iterator[Record]:
    """The records of a file, in its order; `tell` is called with a message about an encoding that is not UTF-8.

    Raises ValueError, which names the file, where it cannot be read as a whole: empty, torn, in an encoding that it
    does not announce, without one of the wanted columns, of more than `how.max_bytes`. Raises OSError where the
    connection breaks.
    """
    with opened(file, how.max_bytes) as stream:
        if file.ending == ".parquet":
            yield from _checked(_parquet(file, stream, how), how)
            return
        encoding = encoding_of(stream, how.encoding, file.shown, has_params=how.has_params)
        if encoding not in ("utf-8", how.encoding):
            tell(f"{file.shown} is read as {encoding}, which its byte order mark says.")
        if file.ending == ".json" and nested.is_nested(stream, encoding):
            yield from _nested(file, stream, encoding, how)
            return
        is_json = file.ending.startswith(".json")
        lines = lines_of(stream, encoding, max_chars=how.max_chars, newline="\n" if is_json else "")
        if file.ending in TAGGED:
            yield from _checked(_sentences(file, lines, how), how)
        else:
            yield from _checked(_jsonl(file, lines, how), how) if is_json else _csv(file, lines, how)


def _checked(records: Iterator[Record], how: Format) -> Iterator[Record]:
    """The records of a typed format, with values that are not text as faults; the values of csv are always texts."""
    for record in records:
        found = None if record.fault else fault_of(record.values, how.wanted, how.max_chars)
        yield Record(record.place, (), *found) if found else record


def _sentences(file: DataFile, lines: Iterator[Line], how: Format) -> Iterator[Record]:
    """A record for each sentence: its words as the text, its tags as the target."""
    if unknown := [one for one in how.wanted if one.role not in (TEXT, TARGET)]:
        raise ValueError(
            f"{file.shown} holds words and their tags, and no column '{unknown[0].column}' ({unknown[0].key}). Take"
            f" {unknown[0].key} out of params.yaml for such files."
        )
    for sentence in conll.sentences(lines):
        if sentence.fault:
            yield Record(sentence.place, (), sentence.fault, excerpt(sentence.start))
        else:
            columns = {TEXT: list(sentence.words), TARGET: list(sentence.tags)}
            values = [columns[one.role] for one in how.wanted if one.role]
            yield Record(sentence.place, values, document=sentence.document)


class _TooLongError(Exception):
    """A record of more characters than allowed."""


class _Feed:
    """Lines for a csv reader that can be taken back: after a quote that is never closed, the lines are read again."""

    def __init__(self, lines: Iterator[Line], max_chars: int) -> None:
        self._lines, self._max_chars = lines, max_chars
        self._ahead: deque[Line] = deque()
        self.record: list[Line] = []
        self.fault: Fault | None = None
        self._chars = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self.record.append(line)
        self._chars += len(line.text)
        if line.fault:
            self.fault = self.fault or line.fault
        end = len(line.text) - len(line.text.rstrip("\r\n"))
        if self._chars - end > self._max_chars or (line.fault and line.fault.reason == "too_long"):
            raise _TooLongError
        return line.text

    def start(self) -> None:
        """Start a record with the next line."""
        self.record, self.fault, self._chars = [], None, 0

    def take_back(self) -> Line:
        """Take all lines of the record back except its first, which is returned."""
        first, *others = self.record
        self._ahead.extendleft(reversed(others))
        return first


def _csv(file: DataFile, lines: Iterator[Line], how: Format) -> Iterator[Record]:
    csv.field_size_limit(LARGEST_FIELD)
    feed = _Feed(lines, how.max_chars)
    header, delimiter, is_spaced = _header(file, feed, how.wanted)
    if not header:
        return
    hint = "Does the file have a header line? The first line looks like a row. " if _is_like_a_row(header) else ""
    places = column_places(header, how.wanted, file.shown, hint)
    reader = csv.reader(feed, delimiter=delimiter, skipinitialspace=is_spaced, strict=True)
    while True:
        feed.start()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            first = feed.take_back()
            yield Record(first.number, (), first.fault or _csv_fault(error, how.max_chars), excerpt(first.text))
            continue
        if not fields or (len(header) > 1 and len(fields) == 1 and not feed.record[0].text.strip()):
            continue  # an empty line
        fault = feed.fault
        if fault is None and len(fields) != len(header):
            fault = Fault(
                "ragged",
                f"{len(fields)} fields, expected {len(header)} as in the header. "
                "Put fields that hold separators or newlines in double quotes",
            )
        place = feed.record[0].number
        if fault:
            yield Record(place, (), fault, excerpt("".join(line.text for line in feed.record)))
        else:
            yield Record(place, [fields[at] for at in places])


def _csv_fault(error: Exception, max_chars: int) -> Fault:
    if isinstance(error, _TooLongError):
        return Fault(
            "too_long",
            f"a record that starts here has over {max_chars:,} characters (ingest.max_row_chars). "
            "Check that its quotes are closed",
        )
    found = "a quote that opens here is not closed" if "end of data" in str(error) else str(error)
    return Fault("bad_quotes", f"{found}. Double the quotes inside a quoted field")


class _Header(NamedTuple):
    names: list[str]
    delimiter: str
    is_spaced: bool
    """Whether blanks that belong to no field follow the separators."""


def _header(file: DataFile, feed: _Feed, wanted: Sequence[Wanted]) -> _Header:
    """The header with the usual separator, or with another with which it has the wanted columns."""
    usual = "\t" if file.ending == ".tsv" else ","
    while True:
        feed.start()
        try:
            header = next(csv.reader(feed, delimiter=usual, strict=True))
        except StopIteration:
            return _Header([], usual, is_spaced=False)
        except (csv.Error, _TooLongError) as error:
            first = feed.take_back()
            if not first.fault and (found := _with_other_delimiter(first.text, wanted)):
                return found
            problem = first.fault.detail if first.fault else str(error) or "far too long"
            raise ValueError(
                f"{file.shown}, line {first.number}: the header cannot be read: {problem}. Mend that line."
            ) from None
        if "".join(header).strip():
            break
    line = feed.record[0]
    if line.fault:
        raise ValueError(f"{file.shown}, line {line.number}: the header cannot be read: {line.fault.detail}.")
    other = _with_other_delimiter(line.text, wanted) if len(feed.record) == 1 else None
    return other or _Header(header, usual, is_spaced=False)


def _is_like_a_row(header: Sequence[str]) -> bool:
    """Whether the fields look like values rather than names: a number, a sentence."""
    fields = (field for name in header for field in re.split(r"[;\t|]", name))  # of other separators, too
    return any(_NUMBER.fullmatch(field.strip()) or _SENTENCE.search(field) for field in fields)


def _with_other_delimiter(line: str, wanted: Sequence[Wanted]) -> _Header | None:
    """The header in `line` with a separator with which it has the wanted columns; None where there is none."""
    for is_spaced, delimiter in itertools.product((False, True), DELIMITERS):
        try:
            header = next(csv.reader([line], delimiter=delimiter, skipinitialspace=is_spaced, strict=True))
        except csv.Error:
            continue
        if not {one.column for one in wanted} - set(header):
            return _Header(header, delimiter, is_spaced)
    return None


def _jsonl(file: DataFile, lines: Iterator[Line], how: Format) -> Iterator[Record]:
    is_first = True
    for line in lines:
        if not line.text.strip():
            continue
        if is_first and file.ending == ".json":
            refuse_array(line, file.shown)
        is_first = False
        found = object_in(line)
        values = found if isinstance(found, Fault) else values_of(found, how.wanted)
        if isinstance(values, Fault):
            yield Record(line.number, (), values, excerpt(line.text))
        else:
            yield Record(line.number, values)


def _nested(file: DataFile, stream: BinaryIO, encoding: str, how: Format) -> Iterator[Record]:
    for number, question in enumerate(nested.questions(stream, encoding, file.shown), start=1):
        if found := _fault_of_question(question, how):
            fault, start = found
            yield Record(number, (), fault._replace(detail=f"{question.at}: {fault.detail}"), excerpt(start))
        else:
            yield Record(number, [question.values[one.column] for one in how.wanted])


def _fault_of_question(question: nested.Question, how: Format) -> tuple[Fault, str] | None:
    """The first fault of a question, and the start of what has it."""
    if question.fault:
        return question.fault, question.start
    for one in how.wanted:
        if one.column not in question.values:
            return Fault("missing_column", no_column(one, list(question.values))), question.start
    return fault_of([question.values[one.column] for one in how.wanted], how.wanted, how.max_chars)


def _parquet(file: DataFile, stream: BinaryIO, how: Format) -> Iterator[Record]:
    row = 0
    with tempfile.TemporaryFile() as unzipped:
        if file.is_gzipped:  # Parquet is read from its end
            shutil.copyfileobj(stream, unzipped)
            stream = unzipped
        try:
            table = Table(stream)
            columns = columns_of(table.columns, how.wanted, file.shown)
            for row, cells in enumerate(table.rows(columns, how.max_bytes), start=1):
                yield Record(row, values_in(cells, columns, how.wanted, file.shown))
        except OutOfReachError:
            raise
        except TooManyBytesError:
            assert how.max_bytes is not None
            raise too_large(file.shown, how.max_bytes) from None
        except UnlikelyError as error:
            raise ValueError(
                f"{file.shown} has a column that unzips to over {MAX_RATIO:,} times what is stored of it ({error}), as"
                " no text does. If it is right all the same, write the file again without compression."
            ) from None
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last, of names
            raise ValueError(
                f"{file.shown} is not a whole Parquet file (after row {row}): {one_line(error)}. Write or fetch it"
                " again."
            ) from None


def column_places(found: Sequence[str], wanted: Sequence[Wanted], where: str, hint: str = "") -> list[int]:
    """The wanted columns' positions. Raises ValueError, with those found, a guess and the hint, where one lacks."""
    for one in wanted:
        if one.column not in found:
            raise ValueError(f"{where}: {no_column(one, found, hint)}.")
        if found.count(one.column) > 1:
            raise ValueError(f"{where}: the column '{one.column}' ({one.key}) is there more than once. Rename one.")
    return [found.index(one.column) for one in wanted]


def columns_of(found: Sequence[str], wanted: Sequence[Wanted], where: str) -> list[str]:
    """The columns that the wanted ones are, or point into. Raises ValueError as `column_places`."""
    columns = [column_of(one.column, found) or one.column for one in wanted]
    column_places(found, [one._replace(column=column) for one, column in zip(wanted, columns, strict=True)], where)
    return columns


def values_in(cells: Sequence[Any], columns: Sequence[str], wanted: Sequence[Wanted], where: str) -> list[Any]:
    """The wanted values of a row of a typed table. Raises ValueError where a name points to nothing."""
    try:
        return [value_at(one.column, column, cell) for one, column, cell in zip(wanted, columns, cells, strict=True)]
    except KeyError as error:
        one = next(one for one in wanted if one.column == error.args[0])
        raise ValueError(f"{where}: {no_column(one, columns)}.") from None
