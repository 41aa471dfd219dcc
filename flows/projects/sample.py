"""The first rows of a file as they stand there, whatever its columns are called, to guess from what they hold."""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow.parquet as pq

from stages.reading import nested
from stages.reading.lines import Line, encoding_of, lines_of
from stages.reading.records import DELIMITERS, LARGEST_FIELD
from stages.reading.storage import TAGGED, DataFile, find, opened
from stages.sources.parallel import files_by_stem

ROWS = 2000  # are looked at, at most
LOOKED_AT = 64_000_000  # bytes of a file, at most

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "dev", "valid", "val"),
    "test": ("test", "testing"),
}
"""What data call the splits, in small letters."""

Row = Mapping[str, Any]


def is_there(value: Any) -> bool:
    """Whether a value is neither missing nor blank; NaN is missing."""
    return value is not None and value == value and not (isinstance(value, str) and not value.strip())


class Sample(NamedTuple):
    """The first rows of a file. Of words with tags (CoNLL) there are none: such files have no columns to choose."""

    shown: str
    """The file's name in messages."""
    rows: Sequence[Row]
    tagged: bool = False
    parts: tuple[str, ...] = ()
    """Of parallel files, whose endings are the columns, the names without these: "train", "val"."""
    files: tuple[str, ...] = ()
    """Of the files of a folder, the names without their endings: "train", "dev/a"."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, as the rows have them."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def values(self, column: str) -> list[Any]:
        """The values of a column that are there: neither missing nor empty."""
        return [row[column] for row in self.rows if column in row and is_there(row[column])]


def sample_of(path: str) -> Sample:
    """The first rows of the file at `path`, or of the first file of that folder; of parallel files lines are rows.

    Raises FileNotFoundError where there is none, ValueError, in words, where it cannot be read.
    """
    if "://" not in path and not Path(path).is_symlink():
        refuse_missing(Path(path))
    try:
        found = find(path, None)
    except (ValueError, FileNotFoundError) as error:  # it names where a project has the path
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(str(error).replace("params.yaml: ingest.path", "--data")) from None
    files = [file for file in found if not file.name.startswith((".", "_"))]
    if not files and (lines := _of_lines(path)):
        return lines
    if not files:
        raise FileNotFoundError(
            f"{path} has no file of rows, and no two files of lines that belong together, such as train.en and"
            " train.de."
        )
    names = tuple(file.stem for file in files) if len(files) > 1 else ()
    beside = [
        file for file in files if "/" not in file.name
    ] or files  # those in folders are read by their splits alone
    file = next((file for file in files if _is_for_training(file.stem)), beside[0])
    if file.ending in TAGGED:
        return Sample(file.shown, (), tagged=True, files=names)
    with opened(file, None) as stream:
        rows = list(itertools.islice(_rows(file, stream), ROWS))
    if not rows:
        raise ValueError(f"{file.shown} has no rows.")
    return Sample(file.shown, _with_columns_of_objects(rows), files=names)


def _is_for_training(stem: str) -> bool:
    """Whether `ingest` takes the file for one of training rows: train.csv, Train-00.csv, train/a.csv."""
    return re.fullmatch(r"(?i)train(ing)?([-_]?\d[^/.]*)?(/.*)?", stem) is not None


def refuse_missing(data: Path) -> None:
    """Raise FileNotFoundError where nothing is at `data`, with what is called nearly so in the same folder."""
    if data.exists():
        return
    beside: list[str] = []
    with contextlib.suppress(OSError):  # there is no such folder, or it is not for us to read
        beside = [path.name for path in data.parent.iterdir()]
    near = difflib.get_close_matches(data.name, sorted(beside), n=1)
    guess = f" Did you mean '{data.with_name(near[0])}'?" if near else ""
    raise FileNotFoundError(f"--data is '{data}'. There is no such file or folder.{guess}")


def _with_columns_of_objects(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows, with a column for each text in objects of texts: translation.en, translation.de."""
    cells = [(name, cell) for row in rows for name, cell in row.items() if cell is not None]
    objects = {name for name, _ in cells} - {name for name, cell in cells if not _is_of_texts(cell)}
    return [dict(_opened(row, objects)) for row in rows] if objects else rows


def _opened(row: Row, objects: Collection[str]) -> Iterator[tuple[str, Any]]:
    for name, cell in row.items():
        if name in objects:
            yield from ((f"{name}.{key}", text) for key, text in (cell or {}).items())
        else:
            yield name, cell


def _is_of_texts(cell: Any) -> bool:
    return isinstance(cell, dict) and all(isinstance(text, str | None) for text in cell.values())


def _of_lines(path: str) -> Sample | None:
    """The first lines of the files in a folder that belong together, those for training first; None: there are none."""
    parts = {stem: files for stem, files in files_by_stem(path).items() if len(files) > 1}
    if not parts:
        return None
    stem = next((stem for stem in parts if stem.rpartition("/")[2].startswith("train")), next(iter(parts)))
    columns = [[line.text.rstrip("\r\n") for line in _lines(file)] for file in parts[stem].values()]
    rows = [dict(zip(parts[stem], lines, strict=True)) for lines in zip(*columns, strict=False)]
    if not rows:
        raise ValueError(f"{path} has no lines in {', '.join(file.name for file in parts[stem].values())}.")
    same = tuple(stem for stem, files in parts.items() if files.keys() == parts[next(iter(parts))].keys())
    return Sample(path, rows, parts=same)


def _lines(file: DataFile) -> Iterator[Line]:
    with opened(file, None) as stream:
        encoding = encoding_of(stream, "auto", file.shown, has_params=False)
        yield from itertools.islice(lines_of(stream, encoding, max_chars=LOOKED_AT, newline="\n"), ROWS)


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
    if file.ending in (".csv", ".tsv"):
        yield from _csv_rows(file, text.lstrip("\r\n"))  # empty lines before the names
        return
    for line in io.StringIO(text, newline="\n"):
        with contextlib.suppress(ValueError):  # `ingest` says what is wrong with such lines
            if isinstance(found := json.loads(line), dict):
                yield found


def _csv_rows(file: DataFile, text: str) -> Iterator[Row]:
    csv.field_size_limit(LARGEST_FIELD)
    lines, delimiter = io.StringIO(text, newline=""), _delimiter(text, file.ending)
    try:
        _, *others = next(csv.reader(lines, delimiter=delimiter), [""])
        blanks = bool(others) and all(name.startswith(" ") for name in others)  # of the separators, as `ingest` has it
        lines.seek(0)
        for row in csv.DictReader(lines, delimiter=delimiter, skipinitialspace=blanks):
            yield {name: value for name, value in row.items() if name is not None}  # None: of cells too many
    except csv.Error as error:
        raise ValueError(f"{file.shown}: {error}.") from None


def _delimiter(text: str, ending: str) -> str:
    """The one that parts the header into the most names, of equals the usual one."""
    header = next(iter(text.splitlines()), "")
    usual = "\t" if ending == ".tsv" else ","
    return max((usual, *DELIMITERS), key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter), [])))
