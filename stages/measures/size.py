"""The size of a model, on disk and in memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def measure(folder: Path) -> dict[str, float]:
    """`size_mb` of the whole folder, and `peak_rss_mb` of this process so far, in units of 10^6 bytes."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"size_mb": round(size / 1e6, 3), "peak_rss_mb": round(peak / 1e6, 1)}
