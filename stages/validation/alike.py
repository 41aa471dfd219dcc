"""Labels that look alike: they differ in case, in blanks beside a comma, in quotes, or as 1.0 from 1."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal

from stages.core.contracts import is_number


def look_alikes(counts: Mapping[str, int]) -> list[str]:
    """A message for each label that looks like a commoner one, the commonest first; `counts`: label -> rows."""
    commonest: dict[str, str] = {}
    found = []
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        first = commonest.setdefault(_seen(label), label)
        if first != label:
            found.append(f"'{label}' ({counts[label]} rows) looks like '{first}' ({counts[first]})")
    return found


def _seen(label: str) -> str:
    """A label as a careless reader sees it."""
    text = unicodedata.normalize("NFKC", label).casefold().strip("\"'` ")
    text = re.sub(r"\s*([,;:/|])\s*", r"\1", text)
    return str(Decimal(text).normalize()) if is_number(text) else text
