"""A measurement's page, and its figures beside it; both say which commit they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.core.files import read_object

TITLE_ENDS = "\n\n"


def refuse(page: Path) -> None:
    """Raise ValueError where no page can be written at that place, or its figures would take another file's."""
    if page.suffix != ".md" or page.is_dir():
        raise ValueError(f"--output is '{page}'. Allowed: a file whose name ends in .md; its figures go beside it.")
    record = page.with_suffix(".json")
    if record.exists() and not (record.is_file() and {"commit", "date"} <= read_object(record).keys()):
        raise ValueError(f"--output is '{page}', and beside it {record} is something else. Choose another name.")


def write(page: Path, text: str, figures: Mapping[str, Any], commit: str) -> Path:
    """Write the page, and the figures as JSON of its name; returns where those are.

    They are of the `commit`, which a line below the page's title names.
    """
    date = datetime.now(UTC).date().isoformat()
    title, _, rest = text.partition(TITLE_ENDS)
    others = "Another commit may have other rows, values and code: compare within the page."
    made = f"Of commit {commit[:7]}, {date}. {others}"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(TITLE_ENDS.join((title, made, rest)), encoding="utf-8")
    record = page.with_suffix(".json")
    content = {**figures, "commit": commit, "date": date}
    record.write_text(f"{json.dumps(content, indent=2, sort_keys=True)}\n", encoding="utf-8")
    return record
