"""Rows to a file, a few at a time: csv, tsv, jsonl (each also with .gz) or parquet; published whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from flows.running.masking import masked
from stages.core.contracts import as_text
from stages.core.files import publish

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
PAGE = ".html"  # of what is written for readers
ROW_GROUP = 65_536  # rows of a parquet file that are held before they are written

Schema = Mapping[str, pa.DataType | None]
"""The columns, in their order, and the type of each in parquet; None: whatever it holds, as text."""


class Writer(Protocol):
    """Writes rows to a file that is open."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some rows; a row without a column has nothing there."""

    def close(self) -> None:
        """Write what is left, and close the file."""


def ending_of(out: str) -> str:
    """How the file is written, one of ENDINGS; "-" is csv. Raises ValueError for another ending."""
    ending = ".csv" if out == "-" else Path(out.lower().removesuffix(".gz")).suffix
    is_zipped_parquet = ending == ".parquet" and out.lower().endswith(".gz")
    if ending not in ENDINGS or is_zipped_parquet:
        raise ValueError(
            f"-o {out}: a file of answers ends in {', '.join(ENDINGS)}, or all but the last of these and .gz; - is csv"
            " on the standard output."
        )
    return ending


def refuse_out(out: str, file: str, endings: Sequence[str] = ENDINGS) -> None:
    """Raise ValueError where `out` is the input itself, has another ending, or is no place for a file."""
    if PAGE in endings and not out.lower().endswith(PAGE):
        raise ValueError(f"-o {out}: a page ends in {PAGE}.")
    if out == "-":
        return
    if PAGE not in endings:
        ending_of(out)
    path = Path(out)
    if path.is_dir():
        raise ValueError(f"-o {out} is a folder. Give the name of a file in it.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"-o {out}: there is no folder {path.parent}. Make it first.")
    if file != "-" and path.exists() and Path(file).exists() and path.samefile(file):
        raise ValueError(f"-o {out} is the input itself. Give another name: answers never replace the rows asked.")


def open_writer(out: str, draft: Path, schema: Schema) -> Writer:
    """What writes rows to the file `draft`, in the format of `out`; of "-" to the standard output."""
    ending = ending_of(out)
    if ending == ".parquet":
        return _Parquet(draft, schema)
    if out == "-":
        return _Text(cast(BinaryIO, sys.stdout.buffer), schema, ending, closes=False)
    is_zipped = out.lower().endswith(".gz")
    raw = gzip.GzipFile(draft, "wb", compresslevel=6, mtime=0) if is_zipped else draft.open("wb")
    return _Text(cast(BinaryIO, raw), schema, ending)


class _Text:
    """csv, tsv and jsonl."""

    def __init__(self, raw: BinaryIO, schema: Schema, ending: str, *, closes: bool = True) -> None:
        self._stream = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="", write_through=False)
        self._closes = closes
        self._as_lines: Callable[[Sequence[Mapping[str, Any]]], None] = self._json
        if ending != ".jsonl":
            self._names = list(schema)
            self._csv = csv.writer(_Ended(self._stream), delimiter="\t" if ending == ".tsv" else ",")
            self._csv.writerow(self._names)
            self._as_lines = self._cells

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._as_lines(rows)

    def _cells(self, rows: Sequence[Mapping[str, Any]]) -> None:
        names = self._names
        self._csv.writerows([[_cell(row.get(name)) for name in names] for row in rows])

    def _json(self, rows: Sequence[Mapping[str, Any]]) -> None:
        lines = map(_as_json, rows)
        self._stream.writelines(f"{line}\n" for line in lines)

    def close(self) -> None:
        if self._closes:
            self._stream.close()
        else:
            self._stream.flush()
            self._stream.detach()


class _Ended:
    """Ends rows of csv with a newline alone.

    A writer told to end them so leaves a carriage return in a cell without quotes, and readers then see two rows.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        self._stream.write(row.removesuffix("\r\n") + "\n")


def _cell(value: Any) -> Any:
    """A value in a csv: texts and numbers as they are, nothing as nothing, lists and objects as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    if isinstance(value, list | dict):
        return _as_json(value)
    return _decoded(value) if isinstance(value, bytes) else str(value)


def _as_json(value: Any) -> str:
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_decoded)


def _decoded(value: Any) -> str | None:
    """A value that JSON does not have, as text; bytes may be those of an image, and no text at all."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else as_text(value)


def _finite(value: Any) -> Any:
    """The value with None for numbers that JSON does not have, be they as deep as they may."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return list(map(_finite, value)) if isinstance(value, list | tuple) else value


class _Parquet:
    def __init__(self, path: Path, schema: Schema) -> None:
        self._typed = {name: kind is not None for name, kind in schema.items()}
        self._schema = pa.schema([(name, kind or pa.large_string()) for name, kind in schema.items()])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._tables: list[pa.Table] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = [self._column(field, [row.get(field.name) for row in rows]) for field in self._schema]
        self._tables.append(pa.table(columns, schema=self._schema))
        if sum(map(len, self._tables)) >= ROW_GROUP:
            self._flush()

    def _column(self, field: pa.Field, values: list[Any]) -> pa.Array:
        if self._typed[field.name]:
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):  # a text that is not UTF-8 is read as bytes
                values = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
            return pa.array(values, field.type)
        return pa.array([value if value is None else _as_text(value) for value in values], field.type)

    def _flush(self) -> None:
        tables, self._tables = self._tables, []  # first: what is interrupted is not written twice
        if tables:
            self._writer.write_table(pa.concat_tables(tables).combine_chunks())

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _as_text(value: Any) -> str:
    text = _cell(value)
    return (text if isinstance(text, str) else str(text)).encode("utf-8", "replace").decode("utf-8")


def write_page(out: str, html: str) -> None:
    """Write a page, whole or not at all, with secrets masked."""
    with publish(Path(out)) as draft:
        draft.write_text(masked(html), encoding="utf-8")


def write_rows(out: str, rows: Sequence[Mapping[str, Any]], types: Schema | None = None) -> None:
    """Write a whole table, with all columns that any row has; `types` are those of parquet."""
    schema = {name: (types or {}).get(name) for name in dict.fromkeys(name for row in rows for name in row)}
    if out == "-":
        writer = open_writer(out, Path(), schema)
        writer.write(rows)
        writer.close()
        return
    with publish(Path(out)) as draft:
        writer = open_writer(out, draft, schema)
        writer.write(rows)
        writer.close()
