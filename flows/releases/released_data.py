"""The profile of the last released data, in metrics/released_data.json: what `validate` compares new data with.

It is a file in git that the stage depends on, so DVC knows when to compare anew. A release writes it into the working
tree, and a retraining into its own, before it runs anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.review.side import Side
from stages.core.paths import Paths

NOTHING = "{}\n"  # nothing to compare with


def profile_of(root: Path, revision: str) -> str | None:
    """The text of the profile that `revision` was made of; None where it has none, as before there were any."""
    return Side(root, revision).text(Paths(root).data_profile)


def remember(root: Path, profile: str) -> bool:
    """Have `validate` at `root` compare with this profile from now on. Gives whether it did not before."""
    path = Paths(root).released_data
    if path.is_file() and path.read_text(encoding="utf-8") == profile:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile, encoding="utf-8")
    return True


def drift(root: Path) -> tuple[str, ...]:
    """What the last run of `validate` that failed says of drift; nothing where something else was wrong as well."""
    path = Paths(root).validation_report.with_name("validation-failed.json")
    if not path.is_file():
        return ()
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    refused = {
        name: [one["message"] for one in results if not one["success"] and not one["warns"]]
        for name, results in found.items()
    }
    return tuple(refused.pop("drift", [])) if not any(refused[name] for name in refused if name != "drift") else ()
