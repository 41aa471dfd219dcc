"""The input of `winnow predict --file`, row by row: the rows of a table, or the lines of a text file."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import click

from flows.cli.answers import BATCH, Row
from flows.running.root import find_root
from stages.core.contracts import as_text
from stages.reading.lines import Fault, lines_of
from stages.reading.storage import TABLES, TAGGED, DataFile, local_file, opened

MAX_CHARS = 10_000_000  # of a line, and of a row of a table outside a project: a file without line ends fills no memory


class Columns(NamedTuple):
    """Which columns of a table hold the texts, and how its rows are read."""

    names: dict[str, str]
    """Of each text, the option that names its column, and the column: "--text-column", and a second entry for pairs."""
    encoding: str
    max_chars: int
    has_params: bool
    """Whether these come from a project's params.yaml."""


def is_table(file: str) -> bool:
    """Whether the file holds a table (csv, tsv, jsonl, parquet; each also with .gz), and not lines of text."""
    return local_file(Path(file), file).ending in TABLES


def is_tagged(file: str) -> bool:
    """Whether the file holds words with tags, which are for training (also with .gz)."""
    return local_file(Path(file), file).ending in TAGGED


def rows_of_lines(file: str, *, are_pairs: bool) -> Iterator[Row]:
    """Each line of a text file in UTF-8, or of standard input ("-"); of pairs, with a tab between the two texts."""
    name = "the standard input" if file == "-" else file
    with _lines_opened(file) as stream:
        for line in lines_of(stream, "utf-8", max_chars=MAX_CHARS, newline="\n"):
            where = f"{name}, line {line.number}"
            texts = line.text.rstrip("\r\n").split("\t") if are_pairs else [line.text.rstrip("\r\n")]
            if line.fault or (are_pairs and len(texts) != 2 and line.text.strip()):
                tabs = Fault("no_pair", f"{len(texts) - 1} tabs, expected two texts and a tab between")
                fault = without_params(line.fault) if line.fault else tabs
                yield unread(where, fault, are_pairs=are_pairs)
            else:
                yield row_of(where, texts if len(texts) == 1 + are_pairs else ["", ""])


@contextlib.contextmanager
def _lines_opened(file: str) -> Iterator[BinaryIO]:
    path = Path(file)
    if file != "-" and path.is_file() and path.stat().st_size:
        with opened(local_file(path, file)) as stream:
            yield stream
    else:  # a pipe, which cannot be looked at first, or an empty file, which has no rows
        source = sys.stdin.fileno() if file == "-" else file
        # Unbuffered, it gives what is there and waits for no more.
        with open(source, "rb", buffering=0, closefd=file != "-") as raw:
            yield cast(BinaryIO, raw)


def columns_of(text: str | None, text_pair: str | None, *, are_pairs: bool) -> Columns:
    """The columns named by the options, else by params.yaml of the current project, else "text" and "text_pair"."""
    try:
        params = find_root(Path.cwd()) / "params.yaml"
    except FileNotFoundError:
        encoding, max_chars, usual, usual_pair = "auto", MAX_CHARS, "text", None
        has_params = False
    else:
        from stages.core.params.file import load_params

        ingest = load_params(params).ingest
        encoding, max_chars = ingest.encoding, ingest.max_row_chars
        usual, usual_pair = ingest.columns.text, ingest.columns.text_pair
        has_params = True
    names = {"--text-column": text or usual}
    if are_pairs:
        names["--text-pair-column"] = text_pair or usual_pair or "text_pair"
    return Columns(names, encoding, max_chars, has_params)


def rows_of_table(file: str, columns: Columns) -> Iterator[Row]:
    """Each row of a table, as the source `files` reads it.

    Raises ValueError, with the columns that are there, where one of `columns` is not; of jsonl, where none of the first
    rows has it.
    """
    from stages.reading.records import Format, read_records
    from stages.reading.values import Wanted

    path = Path(file)
    wanted = [Wanted(column, option) for option, column in columns.names.items()]
    how = Format(wanted, columns.encoding, columns.max_chars, columns.has_params)

    def tell(news: str) -> None:
        click.echo(f"winnow: {news}", err=True)

    data = DataFile(path.name, file, local_file(path, file).open)
    records = read_records(data, how, tell)
    first = list(islice(records, BATCH))
    missing = [record.fault for record in first if record.fault and record.fault.reason == "missing_column"]
    if missing and len(missing) == len(first):
        raise ValueError(f"{file}, line {first[0].place}: {missing[0].detail}.")
    for record in chain(first, records):
        where = f"{file}, {'row' if data.ending == '.parquet' else 'line'} {record.place}"
        if record.fault:
            fault = record.fault if columns.has_params else without_params(record.fault)
            yield unread(where, fault, are_pairs=len(wanted) == 2)
        else:
            yield row_of(where, [as_text(value) for value in record.values])


def without_params(fault: Fault) -> Fault:
    """The message without the name of the parameter, for use outside a project."""
    return fault._replace(detail=re.sub(r" \(ingest\.[\w.]+\)", "", fault.detail))


def unread(where: str, fault: Fault, *, are_pairs: bool) -> Row:
    """A row that has no answer because of a fault."""
    return Row(where, (None, None) if are_pairs else (None,), fault)


def row_of(where: str, texts: Sequence[str | None]) -> Row:
    """A row with these texts; one of them empty is a fault."""
    is_empty = not all(text and text.strip() for text in texts)
    return Row(where, tuple(texts), Fault("empty", "there is nothing to label") if is_empty else None)
