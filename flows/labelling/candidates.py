"""Rows without a label: those of the project, or of a file; no more of them than a pool holds.

project   the ids of transfer rows, else of rows dropped for want of a label; as ingested ───┐
file      its rows, but those whose column of labels is filled ────────────────────────────┴──> pool, drawn by seed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.answering.reading import open_table
from flows.cli.asked import columns_of, is_table, rows_of_lines
from flows.labelling.listed import Listed
from stages.core.contracts import as_text
from stages.core.params.ingest import IngestParams
from stages.core.paths import TRANSFER, Paths
from stages.reading.clean_rows import TEXT_PAIR
from stages.reading.storage import local_file
from stages.reading.values import column_of, value_at

MISSING = "missing_label"  # the reason of `clean` for rows without a label
_LETTERS = str.maketrans("0123456789", "ghijkmnpqr")


class Pool(NamedTuple):
    """Rows that may be proposed."""

    rows: list[Listed]
    of: int
    """The rows without a label that were found."""
    skipped: int
    """The others of a file: those that have one, or no text."""


class TextColumns(NamedTuple):
    """The columns of a file that hold its texts; None: those that params.yaml names."""

    text: str | None
    text_pair: str | None


def found(paths: Paths, ingest: IngestParams, file: str | None, columns: TextColumns, *, most: int, seed: int) -> Pool:
    """The rows of the file, or of the project, that have no label, as `of_file` and `of_project` find them."""
    if file is None:
        return of_project(paths, most=most, seed=seed)
    return of_file(file, ingest, columns, most=most, seed=seed)


def of_project(paths: Paths, *, most: int, seed: int) -> Pool:
    """The project's rows without a label. Raises FileNotFoundError or ValueError where it has none.

    Their texts are those that were ingested: what a person labels becomes data, which `clean` reads again.
    """
    _need(paths.clean, paths.quarantine, paths.raw)
    pool = _drawn(_rows(paths.clean, "split", TRANSFER), most, seed)
    if not pool.of:
        pool = _drawn(_rows(paths.quarantine, "reason", MISSING), most, seed)
    raw = _raw_of(paths.raw, [row.row_id for row in pool.rows])
    if lacking := [row.row_id for row in pool.rows if row.row_id not in raw]:
        raise ValueError(
            f"{paths.raw} has no row {lacking[0]}: the data changed since `clean` ran. Run `winnow reproduce --stage"
            " clean`."
        )
    pool = pool._replace(rows=[replace(row, **raw[row.row_id]) for row in pool.rows])
    if not pool.of:
        raise ValueError(
            f"{paths.clean} has no rows of the split '{TRANSFER}', and {paths.quarantine} none that lack a label. Give"
            " a FILE of rows, or add such rows (docs/your-own-data.md, text without labels)."
        )
    return pool


def _need(*needed: Path) -> None:
    for path in needed:
        if not path.is_file():
            raise FileNotFoundError(f"no {path} yet. Run `winnow reproduce --stage clean`, or give a FILE.")


def _rows(path: Path, column: str, value: str) -> Iterator[Listed | None]:
    """The rows whose `column` has that value."""
    with pq.ParquetFile(path) as file:
        wanted = ["row_id", "text", TEXT_PAIR, "origin", column]
        for batch in file.iter_batches(columns=[name for name in wanted if name in file.schema_arrow.names]):
            table = pa.Table.from_batches([batch])
            for row in table.filter(pc.equal(table[column], value)).to_pylist():
                yield Listed(row["row_id"], row["text"], row.get(TEXT_PAIR), row["origin"])


def _raw_of(raw: Path, row_ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    """The texts of rows, and the columns that `ingest` kept of them, as it wrote them, by their ids."""
    names = [name for name in ("row_id", "text", TEXT_PAIR, "kept") if name in pq.read_schema(raw).names]
    wanted = pc.is_in(pc.field("row_id"), pa.array(row_ids, pa.large_string()))
    rows = pq.read_table(raw, columns=names, filters=wanted).to_pylist()
    return {row.pop("row_id"): {**row, "kept": json.loads(row.get("kept") or "{}")} for row in rows}


def of_file(file: str, ingest: IngestParams, columns: TextColumns, *, most: int, seed: int) -> Pool:
    """The rows of a table, or the lines of a text file, that have a text and no label.

    Raises ValueError or FileNotFoundError where the file cannot be read.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}. Give a csv, tsv, jsonl or parquet, or lines of text.")
    are_pairs = ingest.columns.text_pair is not None
    rows = _of_table(file, ingest, columns, are_pairs) if is_table(file) else _of_lines(file, are_pairs)
    pool = _drawn(rows, most, seed)
    if not pool.of:
        raise ValueError(
            f"{file}: no row has a text and no label ({pool.skipped:,} rows were read). Labels are read from the"
            f" column '{ingest.columns.label}' (ingest.columns.label)."
        )
    return pool


def _of_table(file: str, ingest: IngestParams, named: TextColumns, are_pairs: bool) -> Iterator[Listed | None]:
    columns = columns_of(*named, are_pairs=are_pairs)
    opener = local_file(Path(file), file).open
    source = open_table(file, columns, opener, lambda news: click.echo(f"winnow: {news}", err=True))
    for row, own in source.rows:
        if row.fault or _value(ingest.columns.label, own) is not None:
            yield None
        else:
            yield _from_file(file, row.where, row.texts, {name: _value(name, own) for name in ingest.keep_columns})


def _value(name: str, own: Mapping[str, Any]) -> str | None:
    """What stands in the column of that name, which may point into the objects of another (translation.de)."""
    column = column_of(name, own)
    with contextlib.suppress(KeyError):
        return None if column is None else as_text(value_at(name, column, own[column]))
    return None


def _of_lines(file: str, are_pairs: bool) -> Iterator[Listed | None]:
    for row in rows_of_lines(file, are_pairs=are_pairs):
        yield None if row.fault else _from_file(file, row.where, row.texts, {})


def _from_file(file: str, where: str, texts: tuple[str | None, ...], kept: Mapping[str, Any]) -> Listed:
    """The row, with an id of its own: letters, of which no spreadsheet makes a number."""
    origin = f"{Path(file).name}:{where.rpartition(' ')[2]}"
    first, second = (*texts, None)[:2]
    assert first is not None
    digest = hashlib.sha256("\n".join([origin, first, second or ""]).encode("utf-8", "replace")).hexdigest()[:16]
    return Listed(digest.translate(_LETTERS), first, second, origin, kept=kept)


def _drawn(rows: Iterable[Listed | None], most: int, seed: int) -> Pool:
    """At most so many of the rows, each as likely as any other, in their order; None is a row that is skipped.

    Source: Vitter 1985, doi:10.1145/3147.3165, algorithm R.
    """
    draw, of, skipped = np.random.default_rng(seed), 0, 0
    pool: list[tuple[int, Listed]] = []
    for row in rows:
        if row is None or not row.text.strip():
            skipped += 1
            continue
        if of < most:
            pool.append((of, row))
        elif (place := int(draw.integers(of + 1))) < most:
            pool[place] = (of, row)
        of += 1
    return Pool([row for _, row in sorted(pool, key=lambda one: one[0])], of, skipped)
