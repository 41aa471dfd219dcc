"""Stage `ingest`: rows from a source to Parquet, with a stable id and where each came from.

Nothing is judged here: what is wrong with a row is for `clean` to say.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from stages import plugins
from stages.contracts import RawRow
from stages.entry import run_stage
from stages.files import write_parquet
from stages.params import Params
from stages.paths import Paths
from stages.sources import SOURCES

SCHEMA = pa.schema([(name, pa.large_string()) for name in ("row_id", *RawRow._fields)])


def ingest(params: Params, paths: Paths) -> None:
    """Write `paths.raw`. Raises ValueError where the source gives no rows, or the same origin twice."""
    read = plugins.load(SOURCES, params.ingest.source, key="ingest.source")
    table = to_table(read(params.ingest, params.seed))
    if table.num_rows == 0:
        raise ValueError(f"the source '{params.ingest.source}' gave no rows. Check the section ingest of params.yaml.")
    _check_origins(table["origin"].to_pylist())
    write_parquet(paths.raw, table)


def to_table(rows: Iterable[RawRow]) -> pa.Table:
    """The raw table, in the order of the rows."""
    columns: dict[str, list[str | None]] = {name: [] for name in SCHEMA.names}
    for row in rows:
        columns["row_id"].append(row_id(row.origin))
        for name, value in row._asdict().items():
            columns[name].append(value)
    return pa.table(columns, schema=SCHEMA)


def row_id(origin: str) -> str:
    """The first 16 hex digits of the origin's SHA-256: the same on every machine, whatever else is read."""
    return hashlib.sha256(origin.encode()).hexdigest()[:16]


def _check_origins(origins: list[str]) -> None:
    if len(set(origins)) == len(origins):
        return
    repeated = [f"{origin} ({n} times)" for origin, n in Counter(origins).most_common(3) if n > 1]
    raise ValueError(f"rows of the same origin: {', '.join(repeated)}. The source must tell its rows apart.")


if __name__ == "__main__":
    run_stage(ingest)
