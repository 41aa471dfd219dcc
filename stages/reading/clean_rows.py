"""Reading the clean rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.core.contracts import Text
from stages.core.paths import SPLITS, TRANSFER
from stages.reading.pixels import open_images

TEXT_PAIR = "text_pair"
GROUP = "group"  # the unit that a row belongs to: rows of one are not independent
DUPLICATES = ("exact_duplicate", "near_duplicate", "leaked")  # reasons of `clean` for rows that were there already


def splits_of(clean: Path) -> tuple[str, ...]:
    """SPLITS, and TRANSFER where there are such rows."""
    column = pq.read_table(clean, columns=["split"])["split"]
    return (*SPLITS, TRANSFER) if pc.any(pc.equal(column, TRANSFER)).as_py() else SPLITS


def read_split(clean: Path, split: str, *more: str) -> pa.Table:
    """The rows of one split (row_id, text, of pairs text_pair, label, and `more` columns).

    Raises ValueError where there are none.
    """
    texts = ["text", TEXT_PAIR] if TEXT_PAIR in pq.read_schema(clean).names else ["text"]
    table = pq.read_table(clean, columns=["row_id", *texts, "label", "split", *more])
    rows = table.filter(pc.equal(table["split"], split)).drop_columns("split").combine_chunks()
    if len(rows) == 0:
        raise ValueError(f"{clean}: no rows in the split '{split}'.")
    return rows


def texts_of(rows: pa.Table, images: Path | None = None) -> list[Text]:
    """The input of a model for each row: a text, or a pair of texts, of which the first may be an image.

    `images`: the file of the images that rows name; where it has none, they name none.
    """
    texts = rows["text"].to_pylist()
    if (found := open_images(images)) is not None:
        texts = [found.image(name) for name in texts]
    return list(zip(texts, rows[TEXT_PAIR].to_pylist(), strict=True)) if TEXT_PAIR in rows.column_names else texts


def whole_texts(rows: pd.DataFrame) -> pd.Series:
    """The text of each row; of pairs both texts, a space between. A row without a text has none."""
    return rows["text"] + " " + rows[TEXT_PAIR] if TEXT_PAIR in rows else rows["text"]
