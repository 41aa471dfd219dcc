"""What always giving the commonest label reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.tasks.shared.blind import Blind


def blind(quality: Mapping[str, Any], _judged: str) -> Blind | None:
    """By the rows of each label in `quality`, a content of metrics/quality; None where it does not say them.

    The macro-F1 of labels at random is 1 / labels at most.
    """
    counts = {label: own["rows"] for label, own in quality.get("per_label", {}).items() if own.get("rows")}
    if not counts:
        return None
    common = max(counts, key=lambda label: counts[label])
    share = counts[common] / sum(counts.values())
    below = {"accuracy": share, "macro_f1": 1 / len(counts)}
    return Blind("always giving the commonest label", common, "accuracy", share, below)


BLIND = blind
