"""Lengths of texts, as a few numbers and as shares of a histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

BINS = 30  # those beyond the 99th percentile are in the last one
PERCENTS = (5, 50, 95)


def lengths(chars: pd.Series) -> dict[str, float]:
    """The 5th percentile, the median, the 95th and the longest of these numbers of characters."""
    return {
        **{f"p{percent:02}": round(float(chars.quantile(percent / 100)), 3) for percent in PERCENTS},
        "longest": int(chars.max()),
    }


def histogram(clean: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    """For each split, the share of its texts with at least `chars` characters, and fewer than in the next line."""
    width = max(1, math.ceil(clean["chars"].quantile(0.99) / BINS))
    at = np.minimum(clean["chars"] // width, BINS)
    shares = pd.crosstab(at, clean["split"], normalize="columns")
    shares = shares.reindex(index=range(BINS + 1), columns=list(splits), fill_value=0.0)
    return shares.round(6).rename_axis(index=None, columns=None).assign(chars=shares.index * width)[["chars", *splits]]
