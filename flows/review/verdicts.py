"""Plain words on the figures of one run: no better than an answer that reads nothing, no better than the baseline.

A table of models that are all alike looks like any other. Nothing is measured here: what an answer that reads nothing
would reach follows from the counts of test rows, and intervals are those of metrics/. No task is known by its name: a
figure that is not there is not spoken of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flows.answering.terminal import cleaned
from flows.review.evidence import mapping, number
from flows.review.markdown import between, escape, value
from flows.review.shown_measures import Shown

JUDGED = "quantized"  # what `winnow predict` answers with
BASELINE = "baseline"
ROUNDED = 2e-6  # figures are written with six digits
FROM_FILES = ("files", "hub")  # the sources whose columns are named in params.yaml


class Blind(NamedTuple):
    """What answers reach that are the same for every text."""

    answers: str
    """ "always giving the commonest label, 'login'"."""
    measure: str
    reached: float
    below: Mapping[str, float]
    """Measures whose intervals must begin no higher than this, for nothing to be shown to be learned."""


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
    blind = blind_of(quality.get(JUDGED, {}), measures[-1].name)
    if blind and not _is_better(quality[JUDGED], blind):
        known = {
            name: own for name, own in quality.items() if number(own, "intervals", blind.measure, "low") is not None
        }
        better = [name for name, own in known.items() if _is_better(own, blind)]
        yield _no_better(quality[JUDGED], blind, better, measures, params)
        if not better:
            return
    yield from _against_baseline(quality, comparison, profile, measures[-1])


def blind_of(quality: Mapping[str, Any], judged: str) -> Blind | None:
    """What the best answer that reads nothing reaches on the test rows of these figures; None: they do not say it."""
    rows = {name: number(mapping(quality, "per_label", name), "rows") for name in mapping(quality, "per_label")}
    counts = {name: count for name, count in rows.items() if count}
    if counts and "accuracy" in quality:  # one label a row; the macro-F1 of labels at random is 1 / labels at most
        common = max(counts, key=lambda name: counts[name])
        share = counts[common] / sum(counts.values())
        below = {"accuracy": share, "macro_f1": 1 / len(counts)}
        return Blind(f"always giving the commonest label, '{_plain(common)}'", "accuracy", share, below)
    unanswerable, of = number(quality, "unanswerable"), number(quality, "rows")
    if unanswerable is not None and of:
        share = unanswerable / of
        return Blind("always saying that there is no answer", judged, share, {judged: share})
    if number(quality, "r2") is not None:
        return Blind("always giving the mean of the test rows", "r2", 0.0, {"r2": 0.0, "pearson": 0.0})
    return None


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
    said = (
        f"WARNING: {JUDGED} is not shown to be better than {blind.answers}: {title} {found}"
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
        f" '{_plain(columns.get('text'))}'"
        " (ingest.columns.text)? `winnow errors` shows rows."
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
