"""What a figure must be read with: every file of figures here holds the commit, the day and the processor."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.core.files import publish, read_json
from stages.core.machine import processor

ROOT = Path(__file__).resolve().parents[1]


def made(commit: str | None = None) -> dict[str, str]:
    """The commit (with "-dirty" where tracked files differ from it), the day (UTC), and the processor.

    The commit is "unknown" where this is no clone. Files of figures do not count: each benchmark writes one. `commit`:
    that of the code, where somebody else knows it.
    """
    return {
        "commit": commit or _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
    }


def _commit() -> str:
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)benchmarks/*.json")
    return f"{commit}{'-dirty' if changed else ''}" if commit else "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def write(path: Path, figures: Mapping[str, Any], *, commit: str | None = None) -> None:
    """Write the figures as JSON, in their order, under what they were made with (`made`); print them too."""
    text = json.dumps({"made": made(commit), **figures}, indent=2, allow_nan=False) + "\n"
    print(text)
    with publish(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_beside(path: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Write figures of this name beside those of others, which keep the commit and the day of their own."""
    others = {key: of for key, of in read_json(path).items() if key != "made"} if path.exists() else {}
    write(path, {**others, name: {**made(), **figures}})
