"""A measurement's page, and its figures beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(page: Path, text: str, figures: Mapping[str, Any]) -> Path:
    """Write the page, and the figures as JSON of its name; returns where those are."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    record = page.with_suffix(".json")
    record.write_text(f"{json.dumps(figures, indent=2, sort_keys=True)}\n", encoding="utf-8")
    return record
