"""The release that no later one may fall far behind: small losses, each within the margin, add up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flows.releases import releases
from flows.releases.releases import Release
from flows.review.evidence import Anchor, Results

FIRST = "first"
Answers = Callable[[str], Callable[[Results], Results]]
"""Function that gives, for a candidate's results, those of the model released at a revision."""


def anchor_of(root: Path, name: str, candidate: Results, ways: list[Answers], notes: list[str]) -> Anchor | None:
    """The anchor that `promotion.anchor` names, by the first of the `ways` that has its results.

    None where there is no release yet. A way that fails is a note.
    """
    release = _release(root, name)
    if release is None:
        return None
    if isinstance(release, str):
        return Anchor(name, None, release)
    for answers in ways:
        try:
            return Anchor(release.version, answers(release.revision)(candidate))
        except (ValueError, RuntimeError, OSError) as error:
            notes.append(f"{release.version}, the anchor of the gate, cannot answer the new rows: {error}")
    return Anchor(release.version, None, f"what {release.version} was worth is not known; the notes say why.")


def _release(root: Path, name: str) -> Release | str | None:
    """In words where it is not known."""
    try:
        known = releases.history(root)
    except (ValueError, RuntimeError) as error:
        return f"which release is '{name}' cannot be told: {error}"
    if not known:
        return None
    if name == FIRST:
        return known[-1]
    for release in known:
        if release.version == name:
            return release
    versions = ", ".join(sorted({release.version for release in known}))
    return (
        f"params.yaml: promotion.anchor is '{name}', which was never released. Allowed: {FIRST}, {versions}; or null."
    )
