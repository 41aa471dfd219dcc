"""The groups of rows, which no split parts: those of the source, merged where rows share an image or a passage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.cleaning.images import with_kin_of_images
from stages.cleaning.passages import with_kin_of_passages
from stages.core.params.clean import CleanParams
from stages.core.paths import HELD_OUT, Paths
from stages.reading.pixels import open_images
from stages.tasks.contract import TaskData


def grouped(
    rows: pd.DataFrame, keys: pa.Array, texts: pa.Array, params: CleanParams, paths: Paths, data: TaskData
) -> pd.Series:
    """The groups of the rows, merged where they share an image or a passage, or nearly; as they are in other tasks.

    Rows that are set aside, or have no label, get the group of those that they are like, and join none of them.
    """
    if (images := open_images(paths.images)) is not None:
        names = np.array(texts.take(pa.array(rows["at"].to_numpy())).to_pylist(), dtype=object)

        def kin(some: np.ndarray) -> pd.Series:
            return with_kin_of_images(rows[some], images, names[some].tolist(), params.near_image_bits)
    elif data.passages is not None:
        jaccard = params.near_duplicate_jaccard if data.passages == "near" else 1.0

        def kin(some: np.ndarray) -> pd.Series:
            return with_kin_of_passages(rows[some], keys, jaccard)
    else:
        return rows["group"]
    every = kin(np.ones(len(rows), dtype=bool))
    learned = ((rows["split"] != HELD_OUT) & rows["label"].notna()).to_numpy()
    if learned.all():
        return every
    own = kin(learned)
    known = own.groupby(every[learned]).first()
    return own.reindex(rows.index).fillna(every.map(known)).fillna(every)
