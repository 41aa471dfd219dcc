"""Source `files`: rows of csv, jsonl or parquet; one file, or a folder of train, validation and test files.

Nothing is guessed: "NA" and "null" stay texts, and a fault in a file is an error with its file and line.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.contracts import RawRow, as_kept, as_text
from stages.params import IngestParams
from stages.paths import SPLITS

BLOCK = 1 << 20  # bytes looked at in one go when a file is checked
LARGEST_FIELD = 1 << 30  # csv's own limit, 131,072 characters, is too small for long documents

Record = tuple[int, list[Any]]  # line or row, the values of the wanted columns
Wanted = Sequence[tuple[str, str]]  # column, and the parameter that names it


def read(params: IngestParams, seed: int) -> Iterator[RawRow]:  # noqa: ARG001 (every source is called so)
    """Rows in the order of the files, with origins such as "train.csv:17".

    The number is the line that a record starts on (csv, jsonl; from 1), or the row (parquet; from 1).
    Raises FileNotFoundError where `params.path` is missing, and ValueError for an unknown file ending, an
    unknown column, an empty file, no rows, text that is not UTF-8, NUL bytes and ragged rows.
    """
    files = _files(Path(params.path))
    kept = params.keep_columns
    wanted = [(params.text_column, "text_column"), (params.label_column, "label_column")]
    wanted += [(column, "keep_columns") for column in kept]
    for file, split in files:
        found = False
        for number, (text, label, *others) in READERS[file.suffix.lower()](file, wanted):
            found = True
            origin = f"{file.name}:{number}"
            yield RawRow(as_text(text), as_text(label), origin, split, kept=as_kept(kept, others))
        if not found:
            raise ValueError(f"{file} has no rows. Check that it was written to the end, or remove it.")


def _files(path: Path) -> list[tuple[Path, str | None]]:
    """The files to read, each with its split; one file alone has none."""
    if path.is_file():
        if path.suffix.lower() not in READERS:
            found = path.suffix or "no ending"
            raise ValueError(
                f"params.yaml: ingest.path is '{path}' ({found}). Allowed: {', '.join(READERS)}, or a folder."
            )
        return [(path, None)]
    if not path.is_dir():
        raise FileNotFoundError(f"params.yaml: ingest.path is '{path}': no such file or folder. Put your data there.")
    files: list[tuple[Path, str | None]] = []
    files.extend((file, split) for split in SPLITS for file in _of_split(path, split))
    if not files:
        endings = ", ".join(READERS)
        raise ValueError(f"{path} has no file train.*, validation.* or test.* that ends in one of {endings}.")
    return files if len(files) > 1 else [(files[0][0], None)]


def _of_split(folder: Path, split: str) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.stem == split and file.suffix.lower() in READERS)
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{folder} has more than one file for the split '{split}': {names}. Keep one.")
    return files


def _read_csv(path: Path, wanted: Wanted) -> Iterator[Record]:
    _check_bytes(path)
    csv.field_size_limit(LARGEST_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        records = _numbered(reader, path)
        header = next(records, (1, []))[1]
        places = _columns(header, wanted, path)
        for line, record in records:
            if not record:
                continue  # an empty line
            if len(record) != len(header):
                raise ValueError(
                    f"{path}, line {line}: {len(record)} fields, expected {len(header)} as in the header. "
                    "Put fields that hold commas or newlines in double quotes."
                )
            yield line, [record[place] for place in places]


def _numbered(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """csv records, each with the physical line that it starts on."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {line}: {error}. Check the quotes of the record that starts there."
            ) from None


def _read_jsonl(path: Path, wanted: Wanted) -> Iterator[Record]:
    _check_bytes(path)
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for line, content in enumerate(file, start=1):
            if not content.strip():
                continue
            record = _json_record(content, path, line)
            _columns(list(record), wanted, path, line)
            yield line, [record[column] for column, _ in wanted]


def _json_record(content: str, path: Path, line: int) -> dict[str, Any]:
    try:
        record = json.loads(content)
        if "\\u" in content:
            json.dumps(record, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {line}: not JSON: {error}. Each line must be one object: {{...}}.") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}, line {line}: a {type(record).__name__}, expected one object: {{...}}.")
    return record


def _read_parquet(path: Path, wanted: Wanted) -> Iterator[Record]:
    _check_not_empty(path)
    try:
        with pq.ParquetFile(path) as file:
            names = [column for column, _ in wanted]
            _columns(file.schema_arrow.names, wanted, path)
            row = 0
            for batch in file.iter_batches(columns=list(dict.fromkeys(names))):
                for values in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                    row += 1
                    yield row, list(values)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}. Write it again.") from None


def _check_bytes(path: Path) -> None:
    """Raise ValueError where the file is empty, has a NUL byte, or is not UTF-8."""
    _check_not_empty(path)
    line, offset, tail = 1, 0, b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            if (at := block.find(b"\0")) >= 0:
                line += block.count(b"\n", 0, at)
                raise ValueError(f"{path}, line {line}: byte {offset + at} is NUL, not text. {_next_step(path)}")
            tail = _check_utf8(path, tail + block, offset - len(tail), line, last=False)
            line += block.count(b"\n")
            offset += len(block)
    _check_utf8(path, tail, offset - len(tail), line, last=True)


def _check_utf8(path: Path, block: bytes, offset: int, line: int, *, last: bool) -> bytes:
    """The bytes of a character that the block's end cuts in two. Raises ValueError where it is not UTF-8."""
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and not last:
            return block[error.start :]
        line += block.count(b"\n", 0, error.start)
        found = f"byte {offset + error.start} (0x{block[error.start]:02x})"
        raise ValueError(f"{path}, line {line}: {found} is not UTF-8. {_next_step(path)}") from None
    return b""


def _next_step(path: Path) -> str:
    with path.open("rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return f"Convert it: iconv -f {'UTF-16' if wide else 'ITS_ENCODING'} -t UTF-8 {path.name}"


def _check_not_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes). Check that it was written, or point ingest.path elsewhere.")


def _columns(found: Sequence[str], wanted: Wanted, path: Path, line: int | None = None) -> list[int]:
    """Where the wanted columns stand. Raises ValueError, with those found and a guess, where one lacks."""
    where = f"{path}, line {line}" if line else str(path)
    for column, key in wanted:
        if column not in found:
            near = difflib.get_close_matches(column, found, n=1)
            guess = f" Did you mean '{near[0]}'?" if near else ""
            columns = ", ".join(found) or "none"
            raise ValueError(f"{where}: no column '{column}' (ingest.{key}). Found: {columns}.{guess}")
        if found.count(column) > 1:
            raise ValueError(f"{where}: the column '{column}' (ingest.{key}) is there more than once. Rename one.")
    return [found.index(column) for column, _ in wanted]


READERS: dict[str, Callable[[Path, Wanted], Iterator[Record]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_jsonl,
    ".parquet": _read_parquet,
}
