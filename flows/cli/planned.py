"""The plan as text: one line for each stage that would run, with grouped reasons; and the time that it took before."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from stages.core.paths import Paths

SHOWN = 2  # changes, and stages that are followed, which a line names
NOT_HERE = (" is missing", " is not in DVC's cache")
AFTER = "after "


def as_text(reasons: Mapping[str, Sequence[str]], *, verbose: bool = False) -> str:
    """One line for each stage; with `verbose`, one line for each reason, as DVC gives them.

    clean     clean.min_chars: 2 -> 3; 2 of its files are not here
    tokenize  4 of its files are not here; after clean, validate and 1 more
    """
    if not reasons:
        return "Nothing to do: every stage is up to date."
    shown = {stage: list(why) if verbose else ["; ".join(folded(why))] for stage, why in reasons.items()}
    width = max(map(len, shown))
    lines = [
        f"{stage if position == 0 else '':{width}}  {line}"
        for stage, why in shown.items()
        for position, line in enumerate(why)
    ]
    if not verbose and any(line != "; ".join(reasons[stage]) for stage, (line, *_) in shown.items()):
        lines += ["", "`winnow plan --verbose` gives each reason in full."]
    return "\n".join(lines)


def folded(why: Sequence[str]) -> Iterator[str]:
    """The reasons of a stage, grouped by kind: changes first, mere consequences of other stages last."""
    missing = [reason for reason in why if reason.endswith(NOT_HERE)]
    followed = [name for reason in why if reason.startswith(AFTER) for name in reason[len(AFTER) :].split(", ")]
    changed = [reason for reason in why if reason not in missing and not reason.startswith(AFTER)]
    yield from changed[:SHOWN]
    if (more := len(changed) - SHOWN) > 0:
        yield f"{more} more {'change' if more == 1 else 'changes'}"
    if missing:
        yield missing[0] if len(missing) == 1 else f"{len(missing)} of its files are not here"
    if followed:
        rest = f" and {len(followed) - SHOWN} more" if len(followed) > SHOWN else ""
        yield AFTER + ", ".join(followed[:SHOWN]) + rest


def time_of(root: Path, stages: Collection[str]) -> str | None:
    """A sentence on how long the last runs of these stages took here, in sum; None where none has run here."""
    known: list[float] = []
    for stage in stages:
        with contextlib.suppress(OSError, ValueError):
            known.append(float(Paths(root).seconds(stage).read_text(encoding="utf-8")))
    if not known:
        return None
    whose = "these took" if len(known) == len(stages) else f"{len(known)} of these {len(stages)} stages took"
    return f"{_about(sum(known))} is what {whose} here last time."


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
