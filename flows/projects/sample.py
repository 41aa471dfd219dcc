"""The first rows of a file as they stand there, whatever its columns are called, to guess from what they hold."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow.parquet as pq

from stages.reading import nested
from stages.reading.lines import encoding_of
from stages.reading.records import DELIMITERS, LARGEST_FIELD
from stages.reading.storage import TAGGED, DataFile, find, opened

ROWS = 2000  # are looked at, at most
LOOKED_AT = 64_000_000  # bytes of a file, at most

Row = Mapping[str, Any]


class Sample(NamedTuple):
    """The first rows of a file. Of words with tags (CoNLL) there are none: such files have no columns to choose."""

    shown: str
    """The file's name in messages."""
    rows: Sequence[Row]
    tagged: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, as the rows have them."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def values(self, column: str) -> list[Any]:
        """The values of a column that are there: neither missing nor empty."""
        return [row[column] for row in self.rows if row.get(column) not in (None, "")]


def sample_of(path: str) -> Sample:
    """The first rows of the file at `path`, or of the first file of that folder.

    Raises FileNotFoundError where there is none, ValueError, in words, where it cannot be read.
    """
    try:
        found = find(path, None)
    except ValueError as error:  # it names where a project has the path
        raise ValueError(str(error).replace("params.yaml: ingest.path is", "--data is")) from None
    files = [file for file in found if not file.name.startswith((".", "_"))]
    if not files:
        raise FileNotFoundError(f"{path} has no file of rows.")
    file = next((file for file in files if file.stem.rpartition("/")[2].startswith("train")), files[0])
    if file.ending in TAGGED:
        return Sample(file.shown, (), tagged=True)
    with opened(file, None) as stream:
        rows = list(itertools.islice(_rows(file, stream), ROWS))
    if not rows:
        raise ValueError(f"{file.shown} has no rows.")
    return Sample(file.shown, rows)


def _rows(file: DataFile, stream: BinaryIO) -> Iterator[Row]:
    if file.ending == ".parquet":
        content = io.BytesIO(stream.read()) if file.is_gzipped else stream
        for batch in pq.ParquetFile(content).iter_batches(batch_size=ROWS):
            yield from batch.to_pylist()
        return
    codec = encoding_of(stream, "auto", file.shown, has_params=False)
    if file.ending == ".json" and nested.is_nested(stream, codec):
        yield from (question.values for question in nested.questions(stream, codec, file.shown) if not question.fault)
        return
    text = stream.read(LOOKED_AT).decode(codec, errors="replace").removeprefix("\ufeff")
    if file.ending == ".json" and text.lstrip().startswith("["):
        told = f"`jq -c '.[]' {file.shown} > {file.stem}.jsonl`"
        raise ValueError(f"{file.shown} is one JSON array, expected an object a line. Write it so, with jq: {told}.")
    lines = io.StringIO(text, newline="" if file.ending in (".csv", ".tsv") else "\n")
    if file.ending in (".csv", ".tsv"):
        csv.field_size_limit(LARGEST_FIELD)
        try:
            for row in csv.DictReader(lines, delimiter=_delimiter(text, file.ending)):
                yield {name: value for name, value in row.items() if name is not None}  # None: of cells too many
        except csv.Error as error:
            raise ValueError(f"{file.shown}: {error}.") from None
        return
    for line in lines:
        with contextlib.suppress(ValueError):  # `ingest` says what is wrong with such lines
            if isinstance(found := json.loads(line), dict):
                yield found


def _delimiter(text: str, ending: str) -> str:
    """The one that parts the header into the most names, of equals the usual one."""
    header = next(iter(text.splitlines()), "")
    usual = "\t" if ending == ".tsv" else ","
    return max((usual, *DELIMITERS), key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter), [])))
