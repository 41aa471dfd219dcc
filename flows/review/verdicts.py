"""Plain words on the figures of one run: no better than an answer that reads nothing, no better than the baseline.

A table of models that are all alike looks like any other. Nothing is measured here: what an answer that reads nothing
would reach the task says, by the counts of test rows, where it has such an answer; intervals are those of metrics/.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flows.answering.how import MODEL as JUDGED
from flows.answering.terminal import cleaned
from flows.review.evidence import mapping, number
from flows.review.markdown import between, escape, value
from flows.review.shown_measures import Shown
from flows.review.task import task_of
from stages.core import plugins
from stages.tasks import TASKS
from stages.tasks.shared.blind import Blind

BASELINE = "baseline"
ROUNDED = 2e-6  # figures are written with six digits
FROM_FILES = ("files", "hub")  # the sources whose columns are named in params.yaml


def verdicts(
    quality: Mapping[str, Mapping[str, Any]],
    comparison: Mapping[str, Any],
    profile: Mapping[str, Mapping[str, Any]],
    measures: Sequence[Shown],
    params: Mapping[str, Any],
) -> Iterator[str]:
    """A sentence or more on the quantized model, where it is not shown to be better; the last measure is judged.

    `quality`, `profile`: model -> its figures; `comparison`: of metrics/comparison.json; `params`: of params.yaml.
    """
    blind = _blind_of(quality.get(JUDGED, {}), measures[-1].name, task_of(params))
    if blind and not _is_better(quality[JUDGED], blind):
        known = {
            name: own for name, own in quality.items() if number(own, "intervals", blind.measure, "low") is not None
        }
        better = [name for name, own in known.items() if _is_better(own, blind)]
        yield _no_better(quality[JUDGED], blind, better, measures, params)
        if not better:
            return
    yield from _against_baseline(quality, comparison, profile, measures[-1])


def _blind_of(quality: Mapping[str, Any], judged: str, task: str) -> Blind | None:
    """What the best answer that reads nothing reaches on the test rows of these figures; None: they do not say it."""
    if not quality or importlib.util.find_spec(f"{TASKS[task]}.blind") is None:
        return None
    found: Blind | None = plugins.part(TASKS, task, "blind", key="task.name")(quality, judged)
    return found


def _is_better(quality: Mapping[str, Any], blind: Blind) -> bool:
    """Whether one of its intervals lies above what is reached blindly; also where there are none to tell by."""
    lows = {name: number(quality, "intervals", name, "low") for name in blind.below}
    if lows[blind.measure] is None:
        return True
    return any(low is not None and low > blind.below[name] for name, low in lows.items())


def _no_better(
    own: Mapping[str, Any], blind: Blind, better: Sequence[str], measures: Sequence[Shown], params: Mapping[str, Any]
) -> str:
    shown = next((one for one in measures if one.name == blind.measure), None)
    title, unit = (shown.title, shown.unit) if shown else (blind.measure, "")
    found, *ends = (
        value(number(own, *keys), unit)
        for keys in ((blind.measure,), *(("intervals", blind.measure, end) for end in ("low", "high")))
    )
    answers = blind.answers if blind.name is None else f"{blind.answers}, '{_plain(blind.name)}'"
    said = (
        f"WARNING: {JUDGED} is not shown to be better than {answers}: {title} {found}"
        f" ({ends[0]} to {ends[1]}), and that has {value(blind.reached, unit)}."
    )
    if better:
        return f"{said} Of the other models these are better: {', '.join(better)}."
    return f"{said} No other model is shown to be, either, so nothing was learned from these rows. {_to_check(params)}"


def _to_check(params: Mapping[str, Any]) -> str:
    columns = mapping(params, "ingest", "columns")
    if mapping(params, "ingest").get("source") not in FROM_FILES or not columns.get("label"):
        return "Look at texts and targets: `winnow data`, `winnow errors`."
    return (
        f"Check ingest.columns.label in params.yaml: can '{_plain(columns['label'])}' be told from"
        f" '{_plain(columns.get('text'))}' (ingest.columns.text)? `winnow errors` shows rows."
    )


def _against_baseline(
    quality: Mapping[str, Mapping[str, Any]],
    comparison: Mapping[str, Any],
    profile: Mapping[str, Mapping[str, Any]],
    judged: Shown,
) -> Iterator[str]:
    """A line where, on the same rows, the model is not shown to be better than the baseline."""
    pair = mapping(comparison, f"{JUDGED}_and_{BASELINE}")
    low, high, apart = (number(pair, judged.name, end) for end in ("low", "high", "difference"))
    own, other = (number(quality.get(name, {}), judged.name) for name in (JUDGED, BASELINE))
    if low is None or high is None or apart is None or own is None or other is None:
        return
    if abs(own - other - apart) > ROUNDED:  # of two runs, as where one was ended before `compare`
        return
    worst, best = (low, high) if judged.better == "higher" else (-high, -low)
    if worst > 0:
        return
    each = []
    for name, reached in ((BASELINE, other), (JUDGED, own)):
        size = number(profile.get(name, {}), "size_mb")
        each.append(f"{name} {value(reached, judged.unit)}" + ("" if size is None else f", {size:.1f} MB"))
    told = "no difference shown" if best >= 0 else "the baseline is better"
    yield (
        f"{judged.title}: {'; '.join(each)}: {told} on the same test rows (the difference is between"
        f" {between(low, high, judged.unit)})."
    )


def _plain(name: Any) -> str:
    """A name out of the data, harmless in a terminal and in Markdown."""
    return escape(cleaned(str(name)))
