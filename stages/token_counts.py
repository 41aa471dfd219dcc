"""What `tokenize` counts: the lengths of texts in tokens, what cutting loses, and whether that is more than allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stages.paths import SPLITS

EXAMPLES = 5  # of rows that were cut


def statistics(full_lengths: np.ndarray, row_ids: np.ndarray, max_tokens: int, *, windows: bool) -> dict[str, Any]:
    """Of the lengths in tokens before cutting; what share of the rows, and of the tokens, was cut, and some of those
    rows; windows a row."""
    lengths = full_lengths[full_lengths > 0]  # further windows of a text have none
    lost = np.zeros_like(lengths) if windows else np.maximum(lengths - max_tokens, 0)
    return {
        "rows": len(lengths),
        "mean_tokens": round(float(lengths.mean()), 3),
        "p95_tokens": round(float(np.percentile(lengths, 95)), 3),
        "truncated_share": round(float((lost > 0).mean()), 6),
        "truncated_rows": row_ids[lost > 0][:EXAMPLES].tolist(),
        "lost_token_share": round(float(lost.sum() / lengths.sum()), 6),
        "windows_per_row": round(len(full_lengths) / len(lengths), 3),
    }


def too_long(report: Mapping[str, Any], limit: float | None, max_tokens: int) -> Iterator[tuple[str, str]]:
    """The splits of which more than the share `limit` of the rows is cut at `max_tokens`: the limit, and a line."""
    for split in SPLITS:
        of = report[split]
        if limit is not None and of["truncated_share"] > limit:
            yield (
                "max_truncated_share",
                f"tokens: truncated_share of {split}: found {of['truncated_share']:.4g}, allowed {limit:g} or less. "
                f"tokenize.max_tokens is {max_tokens}; 95 in 100 texts have {of['p95_tokens']:g} or "
                f"less. Rows: {', '.join(of['truncated_rows'])}.",
            )
