"""The profile of the last released data, in metrics/released_data.json, with which `validate` compares new data.

It is a file in git that the stage depends on, so that DVC knows when to compare again. A release writes it into the
working tree, and a retraining into its own worktree, before it runs any stage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.review.side import Side
from stages.core.paths import Paths

NOTHING = "{}\n"  # nothing to compare with


def profile_of(root: Path, revision: str) -> str | None:
    """The text of the data profile of `revision`; None where it has none, as in versions before profiles existed."""
    return Side(root, revision).text(Paths(root).data_profile)


def remember(root: Path, profile: str) -> bool:
    """Make `validate` at `root` compare with this profile from now on. Returns whether that is a change."""
    path = Paths(root).released_data
    if path.is_file() and path.read_text(encoding="utf-8") == profile:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile, encoding="utf-8")
    return True


def drift(root: Path) -> tuple[str, ...]:
    """The drift complaints of the last failed run of `validate`; empty where any other expectation failed as well."""
    path = Paths(root).validation_report.with_name("validation-failed.json")
    if not path.is_file():
        return ()
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    refused = {
        name: [one["message"] for one in results if not one["success"] and not one["warns"]]
        for name, results in found.items()
    }
    return tuple(refused.pop("drift", [])) if not any(refused[name] for name in refused if name != "drift") else ()
