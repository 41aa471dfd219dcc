"""A file of rows with some targets changed: csv, tsv and jsonl line by line, so that all other lines keep their bytes.

Every row stays on its line, and so keeps its id; a row that is dropped has an empty target.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from stages.core.params.ingest import IngestParams
from stages.reading.lines import encoding_of
from stages.reading.records import DELIMITERS, LARGEST_FIELD
from stages.reading.storage import DataFile, opened
from stages.reading.values import column_of

CSV, JSON_LINES, PARQUET = (".csv", ".tsv"), (".jsonl",), (".parquet",)

Changes = Mapping[int, str | None]
"""The new targets by the place of their row, as its origin has it; None: an empty one."""


def rewrite(file: DataFile, target: Path, changes: Changes, ingest: IngestParams) -> None:
    """Write the file with these targets to `target`. Raises ValueError where it is of a kind that cannot be changed."""
    if file.ending not in (*CSV, *JSON_LINES, *PARQUET):
        raise ValueError(
            f"{file.shown}: targets are changed in csv, tsv, jsonl and parquet files alone. Change these rows by hand."
        )
    with opened(file) as stream, _writing(target, zipped=file.is_gzipped) as out:
        if file.ending in PARQUET:
            _parquet(file, stream, out, changes, ingest)
            return
        codec = encoding_of(stream, ingest.encoding, file.shown)
        if codec in ("utf-16", "utf-32"):  # whose byte order mark would be written once more
            raise ValueError(
                f"{file.shown} is in {codec}. Save it as UTF-8, and set ingest.encoding, if it is not auto."
            )
        how: Any = {"encoding": codec, "errors": "surrogateescape", "newline": ""}
        lines, writer = io.TextIOWrapper(stream, **how), io.TextIOWrapper(out, **how)
        change = _csv if file.ending in CSV else _json_lines
        writer.writelines(change(file, lines, changes, ingest))
        writer.flush()
        writer.detach()


def _writing(target: Path, *, zipped: bool) -> BinaryIO:
    target.parent.mkdir(parents=True, exist_ok=True)
    return cast(BinaryIO, gzip.GzipFile(target, "wb", mtime=0)) if zipped else target.open("wb")


class _Layout(NamedTuple):
    names: Sequence[str]
    delimiter: str
    is_spaced: bool


class _Taken:
    """Lines for a csv reader, which keeps those of a record."""

    def __init__(self, lines: TextIO) -> None:
        self._lines, self.count = lines, 0
        self.record: list[str] = []

    def __iter__(self) -> _Taken:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        self.record.append(line)
        return line


def _csv(file: DataFile, lines: TextIO, changes: Changes, ingest: IngestParams) -> Iterator[str]:
    csv.field_size_limit(LARGEST_FIELD)
    layout = _layout(file, ingest)
    taken = _Taken(lines)
    reader = csv.reader(taken, delimiter=layout.delimiter, skipinitialspace=layout.is_spaced, strict=True)
    place = layout.names.index(ingest.columns.label)
    while True:
        taken.record, start = [], taken.count + 1
        try:
            fields = next(reader)
        except StopIteration:
            yield from taken.record
            return
        except csv.Error as error:
            raise ValueError(
                f"{file.shown}, line {start}: {error}. Mend this line first; what is behind it cannot be told apart."
            ) from None
        if start in changes and len(fields) == len(layout.names):
            fields[place] = changes[start] or ""
            last = taken.record[-1]
            end = last[len(last.rstrip("\r\n")) :]
            with io.StringIO(newline="") as text:
                csv.writer(text, delimiter=layout.delimiter, quoting=csv.QUOTE_ALL, lineterminator=end).writerow(fields)
                yield text.getvalue()
        else:
            yield from taken.record


def _layout(file: DataFile, ingest: IngestParams) -> _Layout:
    """The header, and with which separator it has the columns of texts and targets."""
    wanted = {ingest.columns.text, ingest.columns.label}
    with opened(file) as stream:
        codec = encoding_of(stream, ingest.encoding, file.shown)
        text = io.TextIOWrapper(stream, encoding=codec, errors="surrogateescape", newline="")
        lines = [line.removeprefix("\ufeff") for line in itertools.islice(text, 100)]
    for is_spaced, delimiter in itertools.product((False, True), DELIMITERS):
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=is_spaced)
        names = next((fields for fields in reader if fields), [])
        if wanted <= set(names):
            return _Layout(names, delimiter, is_spaced)
    raise ValueError(f"{file.shown} has no columns {', '.join(sorted(wanted))} (ingest.columns).")


def _json_lines(_file: DataFile, lines: TextIO, changes: Changes, ingest: IngestParams) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if number not in changes:
            yield line
            continue
        found = json.loads(line.removeprefix("\ufeff"))
        _set(found, ingest.columns.label, changes[number])
        end = line[len(line.rstrip("\r\n")) :]
        yield f"{json.dumps(found, ensure_ascii=False)}{end}"


def _set(found: dict[str, Any], name: str, target: str | None) -> None:
    """Set the value that `name`, which may point into objects, is of; a list stays one."""
    column = column_of(name, found) or name
    rest = name.removeprefix(column).removeprefix(".")
    if rest:
        _set(found[column], rest, target)
    else:
        is_list = isinstance(found.get(column), list)
        found[column] = json.loads(target) if is_list and target is not None else target


def _parquet(file: DataFile, stream: BinaryIO, out: BinaryIO, changes: Changes, ingest: IngestParams) -> None:
    table = pq.read_table(io.BytesIO(stream.read()))
    name = ingest.columns.label
    field = table.schema.field(name) if name in table.column_names else None
    if field is None or not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
        raise ValueError(f"{file.shown}: its column '{name}' holds no texts, so it is left alone. Change it by hand.")
    values = table[name].to_pylist()
    for place, target in changes.items():
        values[place - 1] = target
    changed = table.set_column(table.column_names.index(name), field, pa.array(values, field.type))
    pq.write_table(changed, out, compression="zstd")
