"""Stage `ingest`: rows from a source to Parquet, with a stable id and the origin of each.

Nothing is judged here: faults of rows are for `clean` to find. Targets get the canonical form that the task gives them,
and are counted. Rows that cannot be read at all go to a file of their own, with their place and the reason, and the
counts add up.
"""

from __future__ import annotations

import hashlib
import logging
import re
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.core import plugins
from stages.core.contracts import IMAGE, UNREADABLE, UNREADABLE_IMAGES, RawRow, RejectedRow
from stages.core.entry import run_stage
from stages.core.files import ParquetRows, publish, write_json
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.reading.pixels import ImagesWriter
from stages.reading.targets import Targets, write_whole_numbers
from stages.sources import SOURCES
from stages.tasks import TASKS

log = logging.getLogger("winnow")

HELD = tuple(name for name in RawRow._fields if name != "image")  # an image's pixels have a file of their own
PAIRS_SCHEMA = pa.schema([(name, pa.large_string()) for name in ("row_id", *HELD)])
SCHEMA = PAIRS_SCHEMA.remove(PAIRS_SCHEMA.get_field_index("text_pair"))
REJECTED_SCHEMA = pa.schema([(name, pa.large_string()) for name in RejectedRow._fields])


def ingest(params: Params, paths: Paths) -> None:
    """Write `paths.raw`, `paths.images`, `paths.unreadable` and `paths.ingest_report`.

    Raises ValueError where the source gives no rows, or the same origin twice.
    """
    source = plugins.load(SOURCES, params.ingest.source, key="ingest.source")
    data = plugins.part(TASKS, params.task.name, "data", key="task.name")
    how = params.ingest.images
    with (
        publish(paths.raw) as raw, publish(paths.unreadable) as unreadable, publish(paths.images) as pixels,
        ImagesWriter(pixels, 0 if how is None else how.size) as images,
    ):  # fmt: skip
        schema = SCHEMA if params.ingest.columns.text_pair is None else PAIRS_SCHEMA
        targets = Targets(data)
        rows = source(params.ingest, params.data_seed, structured=data.structured)
        if IMAGE in data.structured and how is not None:
            from stages.reading.image_rows import with_images  # Pillow, which rows of texts do not need

            rows = with_images(rows, folder_of(params.ingest.path), how, images)
        kept, rejected = write_rows(targets.read(rows), raw, unreadable, schema)
        if kept == 0:
            found = f"no rows, and {rejected.total():,} that cannot be read" if rejected else "no rows"
            raise ValueError(
                f"the source '{params.ingest.source}' gave {found}. Check the section ingest of params.yaml."
            )
        if targets.are_numbers:
            targets.rewritten += write_whole_numbers(raw) - targets.whole  # each row once
    reasons = (*UNREADABLE, *(() if how is None else UNREADABLE_IMAGES))
    counts = {reason: rejected[reason] for reason in reasons}
    write_json(
        paths.ingest_report,
        {
            "read": kept + rejected.total(),
            "kept": kept,
            "quarantined": rejected.total(),
            "quarantined_by_reason": counts,
            "labels_rewritten": targets.rewritten,
        },
    )
    targets.tell()
    if rejected:
        shown = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
        total = f"{rejected.total():,} of {kept + rejected.total():,} rows cannot be read"
        log.warning("ingest: %s: %s. See artifacts/data/unreadable.parquet.", total, shown)


def folder_of(path: str) -> Path:
    """The folder from which paths of images are read: that which is read, or that of the file. ValueError for a URL."""
    if "://" in path:
        raise ValueError(
            f"params.yaml: ingest.path is '{path}', and images are read from folders alone. Download it, and name the"
            " folder."
        )
    return Path(path) if Path(path).is_dir() else Path(path).parent


def write_rows(
    rows: Iterable[RawRow | RejectedRow], raw: Path, unreadable: Path, schema: pa.Schema = SCHEMA
) -> tuple[int, Counter[str]]:
    """Write rows to the one file or the other, in order. Returns how many could be read, and the others by reason.

    For pairs, `schema` is PAIRS_SCHEMA. Raises ValueError where two rows have the same origin.
    """
    ids = array("Q")  # 8 bytes a row
    rejected: Counter[str] = Counter()
    with ParquetRows(raw, schema) as kept, ParquetRows(unreadable, REJECTED_SCHEMA) as refused:
        for row in rows:
            if isinstance(row, RejectedRow):
                assert row.reason in (*UNREADABLE, *UNREADABLE_IMAGES)
                if not rejected[row.reason]:
                    log.warning("ingest: %s: %s: %s.", row.origin, row.reason, row.detail)
                rejected[row.reason] += 1
                refused.write(row)
            else:
                number = row_id(row.origin)
                ids.append(int(number, 16))
                kept.write((number, *row[:-1])[: len(schema)])  # the last are the bytes of an image
    if len(np.unique(ids)) < len(ids):
        _refuse_repeated(raw)
    return len(ids), rejected


def row_id(origin: str) -> str:
    """The first 16 hex digits of the SHA-256 of the origin, whether or not its file is gzipped.

    It is the same on every machine, wherever the folder is and whatever else is read.
    """
    place = re.sub(r"\.gz(:\d+)$", r"\1", origin)
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def _refuse_repeated(raw: Path) -> None:
    counts = Counter(pq.read_table(raw, columns=["origin"])["origin"].to_pylist())
    repeated = [f"{origin} ({n} times)" for origin, n in counts.most_common(3) if n > 1]
    raise ValueError(f"rows of the same origin: {', '.join(repeated)}. The source must tell its rows apart.")


if __name__ == "__main__":
    run_stage(ingest)
