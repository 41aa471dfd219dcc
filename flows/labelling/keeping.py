"""Rows that were taken, added to the project's files: none that was there is lost, and a file is whole or as before."""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from flows.answering.writing import write_rows
from flows.labelling.listed import Listed
from flows.labelling.places import FILES
from flows.labelling.taking import Taken
from flows.running.locks import one_at_a_time
from stages.core.contracts import Text, as_one
from stages.core.params.ingest import IngestParams
from stages.core.paths import Paths
from stages.reading.clean_rows import TEXT_PAIR
from stages.reading.records import LARGEST_FIELD

ID, FROM, ON, BY, SUGGESTED = (
    "labelled_row_id", "labelled_from", "labelled_on", "labelled_by", "labelled_suggestion",
)  # fmt: skip
"""The columns of labelled rows that say where each came from."""
CORRECTIONS = ("row_id", "origin", "text_sha256", "was", "now", "action", "on", "by")
"""`text_sha256` and `was` are of the row as its file has it, before it was cleaned."""
RELABEL, DROPPED, KEEP = "relabel", "drop", "keep"
"""What becomes of a doubted row; `keep`: its target is right."""
READ_SO = ("utf-8", "utf-8-sig")  # the codecs that read UTF-8


class Kept(NamedTuple):
    """What became of rows that were taken."""

    added: int
    there: int
    """Those that the file has already, with the same target."""
    faults: list[str]
    """A line for each that it has with another one; the earlier stays."""


def text_hash(text: Text) -> str:
    """The SHA-256 of a text, of a pair of both with a space between: a correction is of this text alone."""
    return hashlib.sha256(as_one(text).encode("utf-8", "surrogatepass")).hexdigest()


def keep_labelled(paths: Paths, file: Path, taken: Sequence[Taken], ingest: IngestParams, *, on: str, by: str) -> Kept:
    """Add proposed rows to `file`, a csv with the columns that ingest.columns names, and where each row came from.

    Raises ValueError where the file lacks one of these.
    """
    rows = [_labelled(one, ingest, on, by) for one in taken]
    needed = (ingest.columns.text, ingest.columns.label)
    again = "take its line out of the file, and take the list again."
    return _kept(paths, file, rows, (ID, ingest.columns.label), needed, again)


def _labelled(one: Taken, ingest: IngestParams, on: str, by: str) -> dict[str, str]:
    row, columns = one.row, ingest.columns
    pair = {} if columns.text_pair is None else {columns.text_pair: row.text_pair or ""}
    split = {} if ingest.split_column is None else {ingest.split_column: ingest.splits.train}
    return {
        columns.text: row.text, **pair, columns.label: one.target or "",
        **{name: row.kept.get(name) or "" for name in ingest.keep_columns}, **split,
        ID: row.row_id, FROM: row.origin, ON: on, BY: by, SUGGESTED: row.suggestion or "",
    }  # fmt: skip


def keep_corrections(paths: Paths, file: Path, taken: Sequence[Taken], *, on: str, by: str) -> Kept:
    """Add doubted rows to the corrections: what each was, what it is to be, and who said so when.

    Raises FileNotFoundError where the rows are not there as they were ingested, and ValueError where they are others.
    """
    raw = _ingested(paths, [one.row.row_id for one in taken])
    targets = {one.row.row_id: one.target or "" for one in taken}
    before = [row for row in read_rows(file) if {*CORRECTIONS} <= row.keys()]  # `_kept` tells of lacking columns
    for known in before:  # where the corrected copy is read, who thinks otherwise speaks of the data
        own = raw.get(known["row_id"])
        if own and known["action"] != KEEP and (own["label"] or "") == known["now"] != targets[known["row_id"]]:
            own["label"] = known["was"] or None
    rows = [_correction(one, raw[one.row.row_id], on, by) for one in taken]
    again = "take its line out of the file, run `winnow label apply` and `winnow reproduce`, and take the list again."
    return _kept(paths, file, rows, ("row_id", "now"), CORRECTIONS, again)


def _correction(one: Taken, raw: Mapping[str, str | None], on: str, by: str) -> dict[str, str]:
    row, target = one.row, one.target
    action = DROPPED if target is None else KEEP if target == row.given else RELABEL
    now = target if action == RELABEL else raw["label"] if action == KEEP else None
    second = raw.get(TEXT_PAIR)
    digest = text_hash(raw["text"] or "" if second is None else (raw["text"] or "", second))
    values = (row.row_id, row.origin, digest, raw["label"] or "", now or "", action, on, by)
    return dict(zip(CORRECTIONS, values, strict=True))


def _ingested(paths: Paths, ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """The rows as `ingest` wrote them, by their ids."""
    if not paths.raw.is_file():
        raise FileNotFoundError(f"no {paths.raw} yet, by which corrections are checked. Run `winnow reproduce`.")
    names = [name for name in ("row_id", "text", TEXT_PAIR, "label") if name in pq.read_schema(paths.raw).names]
    table = pq.read_table(paths.raw, columns=names, filters=[("row_id", "in", list(ids))])
    found = {row["row_id"]: row for row in table.to_pylist()}
    if lacking := [name for name in ids if name not in found]:
        raise ValueError(
            f"{paths.raw} has no row {lacking[0]}: the data changed since the list was made. Run `winnow reproduce`,"
            " and `winnow label errors` again."
        )
    return found


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of one of these files; none where it is not there. Raises ValueError where it cannot be read."""
    if not file.is_file():
        return []
    csv.field_size_limit(LARGEST_FIELD)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read ({error}), so nothing was added. Restore it as it was.") from None
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(
                f"{file}, row {number}: other fields than in the header, so nothing was added. Mend the line."
            )
    return rows


def _kept(
    paths: Paths, file: Path, new: Sequence[Mapping[str, str]], by: tuple[str, str], needed: Sequence[str], again: str
) -> Kept:
    """Add the rows to the file; `by` names the columns of a row's id and of what is said of it.

    `again` says how the new of two takes the place of the earlier.
    """
    name, said = by
    with one_at_a_time(paths.locks / "labelling.lock", lambda _: None):
        before = read_rows(file)
        if before and (lacking := [column for column in (name, *needed) if column not in before[0]]):
            raise ValueError(
                f"{file} has no column {', '.join(lacking)}, so nothing was added. It has {', '.join(before[0])}. Move"
                " it away, or give its columns the names that params.yaml has."
            )
        known = {row[name]: row for row in before}
        added, there, faults = [], 0, []
        for row in new:
            other = known.get(row[name])
            if other is None:
                added.append(row)
            elif other[said] == row[said]:
                there += 1
            else:
                faults.append(
                    f"{file.name}: row {row[name]} is there as {other[said]!r}, and is now {row[said]!r}. The earlier"
                    f" stays: {again}"
                )
        if added:
            write_rows(str(file), [*before, *added])
    return Kept(len(added), there, faults)


def refuse_encoding(ingest: IngestParams) -> None:
    """Raise ValueError where a file of labelled rows, which is UTF-8, would be read in another encoding."""
    if ingest.source == FILES and ingest.encoding != "auto" and codecs.lookup(ingest.encoding).name not in READ_SO:
        raise ValueError(
            f"params.yaml: ingest.encoding is '{ingest.encoding}', in which all files are read, and labelled rows are"
            f" written in UTF-8. Allowed with `winnow label`: auto, {', '.join(READ_SO)}. Save the data as UTF-8 (iconv"
            f" -f {ingest.encoding} -t utf-8), and set ingest.encoding to auto."
        )


def labelled_ids(file: Path) -> set[str]:
    """The ids that labelled rows of `file` were listed by; none where it is not there. Raises as `read_rows`."""
    return {row[ID] for row in read_rows(file) if row.get(ID)}


def labelled_keys(rows: Iterable[Mapping[str, str]], ingest: IngestParams) -> set[str]:
    """The keys of the texts in labelled rows, by which they are not proposed again."""
    columns = ingest.columns
    return {
        Listed("", row.get(columns.text, ""), row.get(columns.text_pair) if columns.text_pair else None).key
        for row in rows
    }
