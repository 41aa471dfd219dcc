"""What always saying that there is no answer reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.tasks.shared.blind import Blind


def blind(quality: Mapping[str, Any], judged: str) -> Blind | None:
    """By the rows without an answer in `quality`, a content of metrics/quality; None where it does not say them."""
    if not quality.get("rows") or quality.get("unanswerable") is None:
        return None
    share = quality["unanswerable"] / quality["rows"]
    return Blind("always saying that there is no answer", None, judged, share, {judged: share})


BLIND = blind
