"""The plan as text: one line for each stage that would run, with grouped reasons; and the time that it took before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from flows.dvc.differences import NEVER
from flows.dvc.planning import AFTER, NOT_HERE, own_reasons
from flows.running.times import about, last_seconds

SHOWN = 2  # changes, and stages that are followed, which a line names


def as_text(reasons: Mapping[str, Sequence[str]], *, of: int, verbose: bool = False) -> str:
    """One line for each stage, `of` all that there are; with `verbose`, one line for each reason, as DVC gives them.

    clean     clean.min_chars: 2 -> 3; 2 of its files are not here
    tokenize  4 of its files are not here; after clean, validate and 1 more
    """
    if not reasons:
        return "Nothing to do: every stage is up to date."
    if not verbose and len(reasons) == of and (line := _in_a_line(reasons)):
        return f"All {of} stages would run: {line}\n`winnow plan --verbose` gives each by itself."
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


def _in_a_line(reasons: Mapping[str, Sequence[str]]) -> str | None:
    """Why all stages would run, where that is the same for each, as in a fresh clone; None where it is not."""
    own = [reason for why in reasons.values() for reason in own_reasons(why)]
    if all(reason == NEVER for reason in own):
        return "none has ever run."
    if all(reason.endswith(NOT_HERE) for reason in own):
        return (
            "dvc.lock has their results, but their files are not here, as in a fresh clone. Where a DVC remote has"
            " them, `dvc pull` is enough."
        )
    return None


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
    """A sentence on how long the last runs of these stages took here, in sum; None where there are no stages."""
    if not stages:
        return None
    known = last_seconds(root, stages)
    if not known:
        return "How long that takes is unknown: none of these stages has run here."
    whose = "these took" if len(known) == len(stages) else f"{len(known)} of these {len(stages)} stages took"
    return f"{about(sum(known.values()))} is what {whose} here last time."
