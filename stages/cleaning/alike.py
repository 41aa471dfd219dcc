"""Which texts are like others, as `clean` compares them: exactly or nearly, and pairs also turned round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.contracts import Text


def like_others(texts: Sequence[Text], others: Sequence[Text], *, jaccard: float) -> np.ndarray:
    """(N,) whether each of N texts is one of the `others`, or near one, directly or through more of the texts."""
    from stages.cleaning.duplicates import neighbours  # these bring Daft, and few who may ask do
    from stages.cleaning.keys import PAIR_SEPARATOR, keys_of
    from stages.cleaning.tables import distinct

    every = [*texts, *others]
    sides = [every] if all(isinstance(text, str) for text in every) else list(zip(*every, strict=True))
    keys = [keys_of(pa.array(side, pa.large_string())) for side in sides]
    places, known = distinct(pc.binary_join_element_wise(*keys, pa.scalar(PAIR_SEPARATOR, pa.large_string())))
    kin = neighbours(known, jaccard=jaccard, compared=np.ones(len(known), dtype=bool)).kin[places]
    return np.isin(kin[: len(texts)], kin[len(texts) :])
