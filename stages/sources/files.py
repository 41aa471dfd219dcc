"""Source `files`: rows of csv, tsv, jsonl, parquet, or words with tags, from a file or a folder, here or on S3.

Unreadable rows are reported and counted, and the rest are read; a file that cannot be read as a whole is an error, as
its settings are wrong rather than its rows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath

from stages.core.contracts import IMAGE, RawRow, RejectedRow, as_kept, as_text
from stages.core.params.ingest import IngestParams
from stages.core.paths import BESIDE, TRANSFER
from stages.reading.records import Format, read_records
from stages.reading.storage import ENDINGS, DataFile, find
from stages.reading.values import Wanted, of_cell, wanted_columns

log = logging.getLogger("winnow")
FILES_LOOKED_AT, ROWS_LOOKED_AT = 20, 1000  # at most, before anything runs; of a file with a header one row


def read(
    params: IngestParams,
    seed: int,  # noqa: ARG001 (every source is called so)
    *,
    structured: Collection[str] = frozenset(),
) -> Iterator[RawRow | RejectedRow]:
    """Rows by file, in the order of the files' names, with origins such as "train.csv:17".

    The number is the line that a record starts on (csv, tsv, jsonl, words with tags; from 1), or the row (parquet; from
    1). Lists and objects in the columns of the roles `structured` are given as JSON. Of words with tags a sentence is a
    row, whose text and label are such lists; the sentences of a document are a group.
    Raises FileNotFoundError or ValueError where there is no such file, where a file as a whole cannot be read, where
    none of its rows can, and for a split that `params.splits` does not name.
    """
    for file, split in _files(params, _tell):
        readable, first = 0, None
        for row in _rows(file, split, params, structured):
            readable += isinstance(row, RawRow)
            first = first or row
            yield row
        if first is None:
            raise ValueError(f"{file.shown} has no rows. Check that it was written to the end, or remove it.")
        if not readable:
            assert isinstance(first, RejectedRow)
            line = first.origin.rpartition(":")[2]
            raise ValueError(
                f"{file.shown}: none of its rows can be read. The first, line {line}: {first.detail.rstrip('.')}."
            )


def faults(params: IngestParams) -> Iterator[str]:
    """Faults for which `read` would refuse the first files as a whole, such as a missing column; one line each."""
    try:
        for file, split in _files(params, lambda _: None)[:FILES_LOOKED_AT]:
            if told := _column_missing(file, _format(split, params)):
                yield told
    except (ValueError, OSError) as error:
        yield str(error)


def _column_missing(file: DataFile, how: Format) -> str | None:
    """The column that none of the first rows has, where rows name their columns (jsonl); None where all are there."""
    told = None
    for record in islice(read_records(file, how, lambda _: None), ROWS_LOOKED_AT):
        if record.fault is None or record.fault.reason != "missing_column":
            return None
        told = told or f"{file.shown}, line {record.place}: {record.fault.detail}."
    return told


def _tell(news: str) -> None:
    log.warning("ingest: %s", news)


def _format(split: str | None, params: IngestParams, structured: Collection[str] = frozenset()) -> Format:
    wanted = wanted_columns(params, labelled=split != TRANSFER, structured=structured)
    if params.split_column is not None and split != TRANSFER:
        wanted.append(Wanted(params.split_column, "ingest.split_column"))
    return Format(wanted, params.encoding, params.max_row_chars, max_bytes=params.max_file_bytes)


def _rows(
    file: DataFile, split: str | None, params: IngestParams, structured: Collection[str]
) -> Iterator[RawRow | RejectedRow]:
    labelled = split != TRANSFER
    by_column = params.split_column if labelled else None
    for record in read_records(file, _format(split, params, structured), _tell):
        origin = f"{file.name}:{record.place}"
        if record.fault:
            yield RejectedRow(origin, *record.fault, record.excerpt)
            continue
        cell, *kept = record.values
        text, image = of_cell(cell) if IMAGE in structured else (as_text(cell), None)
        if IMAGE in structured and text is not None:  # a path is from the folder that its table is in
            text = (PurePosixPath(file.name).parent / text).as_posix()
        label = kept.pop(0) if labelled else None
        pair = as_text(kept.pop(0)) if params.columns.text_pair is not None else None
        if by_column is not None:
            split = _given_split(as_text(kept.pop()), f"{file.shown}, line {record.place}", params)
            label = label if split != TRANSFER else None
        kept_text = as_kept(params.keep_columns, kept)
        group = None if record.document is None else f"{file.stem}#{record.document}"
        yield RawRow(text, as_text(label), origin, split, group, kept_text, pair, image)


def _given_split(value: str | None, where: str, params: IngestParams) -> str | None:
    """The split that a value of the split column means; None where it is empty."""
    if value is None or not value.strip():
        return None
    splits = params.splits.by_name()
    if value not in splits:
        raise ValueError(
            f"{where}: the column '{params.split_column}' (ingest.split_column) is '{value[:40]}'. Allowed: "
            f"{', '.join(splits)} (ingest.splits), or empty. Say in ingest.splits what your splits are called."
        )
    return splits[value]


def _files(params: IngestParams, tell: Callable[[str], object]) -> list[tuple[DataFile, str | None]]:
    """The files to read, by name, each with its split; `tell` is called with a message about those that are left out.

    Without a pattern they are those of a folder that are named after splits, or, where none is, all directly in it; and
    those of transfer rows and of rows set aside. Raises ValueError where none is named after the training split, and
    there are others, which might be it.
    """
    files = find(params.path, params.pattern)
    splits = {file.name: _split_of(file.name, params) for file in files}
    if params.pattern is None:
        named = [file for file in files if is_of_split(file.name, params)]
        others = [file for file in files if not splits[file.name]] if named else []
        files = [file for file in files if splits[file.name] or (not named and "/" not in file.name)]
        _tell_of(others, {splits[file.name] for file in named}, named, params, tell)
    if not files:
        raise FileNotFoundError(
            f"params.yaml: ingest.path is '{params.path}', a folder without a file that ends in "
            f"{', '.join(ENDINGS)} (or these and .gz). Put your data there; for folders within it, set ingest.pattern."
        )
    _check_once(files, params.path)
    if len({splits[file.name] for file in files} - set(BESIDE)) == 1:  # files of one split are no split
        splits = {name: split if split in BESIDE else None for name, split in splits.items()}
    return [(file, splits[file.name]) for file in files]


def _tell_of(
    others: Sequence[DataFile], given: set[str | None], named: Sequence[DataFile], params: IngestParams,
    tell: Callable[[str], object],
) -> None:  # fmt: skip
    """Report the files that are not read, beside those `named` after the splits `given`."""
    if not others:
        return
    shown, read = (", ".join(file.name for file in some[:5]) for some in (others, named))
    if "train" not in given:
        raise ValueError(
            f"{params.path} has {read}, named after a split, and beside it {shown}, which is not, and no file of the"
            f" training split ({params.splits.train}). Say in ingest.pattern which to read, or name files after splits."
        )
    tell(f"of {params.path} only files named after splits are read ({read}), not {shown}. ingest.pattern takes others.")


def is_of_split(name: str, params: IngestParams) -> bool:
    """Whether a file is named after training, validation or test, so that those named after none are not read."""
    return _split_of(name, params) not in (None, *BESIDE)


def _split_of(name: str, params: IngestParams) -> str | None:
    """The split that a file is named after: train.csv, train-00000-of-00002.parquet, train/a.csv."""
    for called, split in params.splits.by_name().items():
        endings = "|".join(map(re.escape, ENDINGS))
        if re.match(rf"{re.escape(called)}([-_]?\d[^/.]*)?(/|(?i:({endings})(\.gz)?)$)", name):
            return split
    return None


def _check_once(files: Sequence[DataFile], folder: str) -> None:
    """Raise ValueError where two files differ in their endings alone: the same rows twice, most likely."""
    seen: dict[str, DataFile] = {}
    for file in files:
        if other := seen.get(file.stem):
            raise ValueError(
                f"{folder} has {other.name} and {file.name}: the same rows twice? Keep one, or name it in "
                "ingest.pattern."
            )
        seen[file.stem] = file
