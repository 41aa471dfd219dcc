"""Source `parallel`: plain-text files that belong together line by line, as corpora of translations come.

    data/train.en   A dog runs.           the text      ingest.columns.text: en
    data/train.de   Ein Hund läuft.       the target    ingest.columns.label: de

A column is what stands behind the last dot of a file's name, so that the same settings say what is read of tables.
train.en, train.en.txt, train.en.gz and train.en.txt.gz are the same to it. A line ends at its newline, and nowhere
else: a carriage return, a form feed or U+2028 within a sentence would set one file a line off from the other.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from stages.core.contracts import RawRow, RejectedRow, as_text
from stages.core.params.ingest import IngestParams
from stages.core.paths import BESIDE, TRANSFER
from stages.reading.lines import Line, encoding_of, excerpt, lines_of
from stages.reading.storage import DataFile, folder_of, opened

log = logging.getLogger("winnow")
_GZIPPED = re.compile(r"\.gz$", re.IGNORECASE)
_PLAIN = re.compile(r"(?<=.)(\.[^./]+)\.txt$", re.IGNORECASE)  # train.en.txt; of poems.txt the column is txt
SHOWN = 5  # names in a message


class Part(NamedTuple):
    """Files that belong together: train.en and train.de."""

    stem: str
    """What their names have in common, with their folder: "train", "wmt/newstest2014"."""
    text: DataFile
    target: DataFile | None
    """None: of rows without targets; the file of the text itself where a text is its own target."""
    split: str | None


def read(
    params: IngestParams,
    seed: int,  # noqa: ARG001 (every source is called so)
    *,
    structured: Collection[str] = frozenset(),  # noqa: ARG001 (as above)
) -> Iterator[RawRow | RejectedRow]:
    """Rows by file, then by line, with origins such as "train.en:17" (lines count from 1).

    `params.path` is the folder, or an s3:// URL of one. Parts named after splits are read, or all where none is. A line
    of either file that cannot be read rejects the row, and both go on with the next. Raises FileNotFoundError where
    there are no such files, ValueError where one of two is missing, for parameters that such files do not allow, and
    where one file has more lines than the other.
    """
    for part in parts(params):
        with ExitStack() as stack:
            streams = [_lines(stack, file, params) for file in (part.text, part.target) if file is not None]
            for number, lines in enumerate(itertools.zip_longest(*streams), start=1):
                if None in lines:
                    raise _unequal(part, number, lines, streams)
                yield _row(part, f"{part.text.name}:{number}", lines)


def _lines(stack: ExitStack, file: DataFile, params: IngestParams) -> Iterator[Line]:
    stream = stack.enter_context(opened(file, params.max_file_bytes))
    encoding = encoding_of(stream, params.encoding, file.shown)
    if encoding not in ("utf-8", params.encoding):
        log.warning("ingest: %s is read as %s, which its byte order mark says.", file.shown, encoding)
    return lines_of(stream, encoding, max_chars=params.max_row_chars, newline="\n")


def _row(part: Part, origin: str, lines: Sequence[Line]) -> RawRow | RejectedRow:
    for line, file in zip(lines, (part.text, part.target), strict=False):
        if line.fault:
            assert file is not None
            return RejectedRow(origin, line.fault.reason, f"{file.name}: {line.fault.detail}", excerpt(line.text))
    texts = [as_text(line.text.rstrip("\r\n")) for line in lines]
    return RawRow(texts[0], texts[1] if len(texts) > 1 else None, origin, part.split)


def _unequal(part: Part, number: int, lines: Sequence[Line | None], streams: Sequence[Iterator[Line]]) -> ValueError:
    """The error for files of which one ends before line `number`; the other is read on, to say how far it goes."""
    assert part.target is not None
    files = (part.text, part.target)
    counts = [
        number - 1 if line is None else number + sum(1 for _ in stream)
        for line, stream in zip(lines, streams, strict=True)
    ]
    has = " and ".join(f"{file.shown} has {count:,} lines" for file, count in zip(files, counts, strict=True))
    return ValueError(
        f"{has}. A line of the one is the line of the same number of the other, so from some line on they may not be"
        " each other's. Find the line where they part, and mend it; only a newline ends a line."
    )


def parts(params: IngestParams) -> list[Part]:
    """The parts that are read, by their names. Raises as `read` does, before any line is read."""
    _refuse_settings(params)
    wanted = dict.fromkeys((params.columns.text, params.columns.label))
    files = files_by_stem(params.path, params.pattern)
    found = {stem: columns for stem, columns in files.items() if wanted.keys() & columns.keys()}
    splits = {stem: _split_of(stem, params) for stem in found}
    if any(split not in (None, *BESIDE) for split in splits.values()):
        if others := [stem for stem in found if splits[stem] is None]:
            told = "ingest: of %s only files named after splits are read, not %s. ingest.pattern takes others."
            log.warning(told, params.path, ", ".join(others[:SHOWN]))
        found = {stem: columns for stem, columns in found.items() if splits[stem] is not None}
    if not found:
        raise _nothing(params, files)
    drawn = len({splits[stem] for stem in found} - {*BESIDE}) == 1  # files of one split are no split
    return [
        _part(stem, columns, splits[stem] if splits[stem] in BESIDE or not drawn else None, params)
        for stem, columns in found.items()
    ]


def files_by_stem(path: str, pattern: str | None = None) -> dict[str, dict[str, DataFile]]:
    """The files of a folder by what is in front of the last dot of their names, then by what is behind it.

    Raises FileNotFoundError where there is no such folder, ValueError where two files are the same part of it.
    """
    found: dict[str, dict[str, DataFile]] = {}
    for file in folder_of(path, pattern):
        stem, _, column = _PLAIN.sub(r"\1", _GZIPPED.sub("", file.name)).rpartition(".")
        if not stem or "/" in column:
            continue
        part = found.setdefault(stem, {})
        if other := part.get(column):
            raise ValueError(f"{path} has {other.name} and {file.name}: the same lines twice? Keep one.")
        part[column] = file
    return found


def _part(stem: str, columns: Mapping[str, DataFile], split: str | None, params: IngestParams) -> Part:
    keys = {"text": params.columns.text} | ({} if split == TRANSFER else {"label": params.columns.label})
    for role, column in keys.items():
        if column not in columns:
            beside = ", ".join(sorted(file.name for file in columns.values()))
            raise ValueError(
                f"{params.path} has {beside}, and no {stem}.{column} (ingest.columns.{role}). Put it there, or name"
                " another column: it is what stands behind the last dot."
            )
    return Part(stem, columns[keys["text"]], columns[keys["label"]] if "label" in keys else None, split)


def _refuse_settings(params: IngestParams) -> None:
    """Raise ValueError for a parameter that lines of text have nothing for."""
    more = {
        "ingest.columns.text_pair": params.columns.text_pair,
        "ingest.keep_columns": ", ".join(params.keep_columns) or None,
        "ingest.split_column": params.split_column,
    }
    for key, value in more.items():
        if value is not None:
            empty = "[]" if key == "ingest.keep_columns" else "null"
            raise ValueError(
                f"params.yaml: {key} is '{value}'. Allowed for the source parallel: {empty}, as a row is a line of two"
                " files. Write the rows as csv or jsonl, and read them by the source files, to have more columns."
            )


def _split_of(stem: str, params: IngestParams) -> str | None:
    """The split that files are named after: train.en, train-00.en, train/news.en."""
    for called, split in params.splits.by_name().items():
        if re.match(rf"{re.escape(called)}([-_]?\d[^/.]*)?(/|$)", stem):
            return split
    return None


def _nothing(params: IngestParams, files: Mapping[str, Mapping[str, DataFile]]) -> FileNotFoundError:
    columns, names = params.columns, [file.name for part in files.values() for file in part.values()]
    return FileNotFoundError(
        f"params.yaml: ingest.path is '{params.path}', which has no files that end in .{columns.text} and"
        f" .{columns.label} (ingest.columns.text and label). Found there: {', '.join(names[:SHOWN]) or 'no file'}. Name"
        " the endings in ingest.columns, such as en and de for train.en and train.de."
    )


def faults(params: IngestParams) -> Iterator[str]:
    """The fault for which `read` would refuse the folder before it reads a line."""
    try:
        parts(params)
    except (ValueError, OSError) as error:
        yield str(error)
