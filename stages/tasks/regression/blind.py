"""What always giving the mean reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.tasks.shared.blind import Blind


def blind(quality: Mapping[str, Any], _judged: str) -> Blind | None:
    """None where `quality`, a content of metrics/quality, lacks the share of the variance."""
    if quality.get("r2") is None:
        return None
    return Blind("always giving the mean of the test rows", None, "r2", 0.0, {"r2": 0.0, "pearson": 0.0})


BLIND = blind
