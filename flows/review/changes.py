"""The differences between two revisions: parameters, stages, numbers. Pure: values in, records out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from flows.gate.rules import Rules
from flows.gate.same_rows import both_counted
from flows.review import timing
from flows.review.evidence import (
    MetricChange,
    ParamChange,
    Results,
    StageChange,
    Unit,
    Withheld,
    mapping,
    number,
)
from flows.review.markdown import plural
from flows.review.model_results import in_both, ranked_otherwise, same_rows
from flows.review.task import judged_first
from stages.core.params.evaluate import EvaluateParams
from stages.measures.calibration import error_difference_interval
from stages.measures.counted import codes
from stages.measures.paired import difference_interval, mean_difference_interval, measured
from stages.measures.score import Interval, independent_difference
from stages.tasks.contract import Better, Figure, Measure, TaskMeasures


class Shown(NamedTuple):
    """A number of a metrics file, and how it is shown."""

    key: str
    title: str
    unit: Unit
    better: Better


CALIBRATION = "ece"  # its key in metrics/quality
COST = (
    Shown("latency_p50_ms", "latency p50", "ms", "lower"),
    Shown("latency_p99_ms", "latency p99", "ms", "lower"),
    Shown("throughput_rows_per_s", "throughput", "rows/s", "higher"),
    Shown("start_up_ms", "start-up", "ms", "lower"),
    Shown("peak_rss_mb", "peak memory", "MB", "lower"),
    Shown("size_mb", "size", "MB", "lower"),
)
OF_WRITING = (  # of models that write
    Shown("tokens_per_s", "writing one text", "tokens/s", "higher"),
    Shown("tokens_per_s_batch", "writing a batch", "tokens/s", "higher"),
    Shown("first_text_ms", "first words", "ms", "lower"),
)


def params(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[ParamChange]:
    """Every parameter that differs, by its dotted key; in the order of the newer file."""
    old, new = dict(_flat(before)), dict(_flat(after))
    for key in dict.fromkeys([*new, *old]):
        if old.get(key) != new.get(key):
            yield ParamChange(key, old.get(key), new.get(key))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def stages(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[StageChange]:
    """The stages whose entries in dvc.lock differ, with the differences."""
    old, new = before.get("stages") or {}, after.get("stages") or {}
    for name in dict.fromkeys([*new, *old]):
        if name not in new:
            yield StageChange(name, ("it is gone",))
        elif name not in old:
            yield StageChange(name, ("it is new",))
        elif reasons := tuple(_reasons(old[name], new[name])):
            yield StageChange(name, reasons)


def _reasons(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Why a stage ran: its command, its dependencies, its parameters; where none differs, its changed outs."""
    found = False
    if old.get("cmd") != new.get("cmd"):
        found = True
        yield "its command changed"
    for change in params(_of_files(old), _of_files(new)):
        found = True
        yield f"{change.key.partition(':')[2]}: {change.before} → {change.after}"
    hashes = [
        {entry["path"]: entry.get("md5", entry.get("etag")) for entry in lock.get("deps", [])} for lock in (old, new)
    ]
    for path in sorted(hashes[0].keys() | hashes[1].keys()):
        if hashes[0].get(path) != hashes[1].get(path):
            found = True
            yield f"{path} {'is new' if path not in hashes[0] else 'is gone' if path not in hashes[1] else 'changed'}"
    if not found and old.get("outs") != new.get("outs"):
        yield "it ran again, and its outs came out otherwise"


def _of_files(lock: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{file}:{key}": value for file, values in (lock.get("params") or {}).items() for key, value in values.items()
    }


def metrics(
    model: str,
    old: Results,
    new: Results,
    rules: Rules,
    settings: EvaluateParams,
    notes: list[str],
    *,
    same_data: bool = True,
    not_run: Collection[str] = (),
) -> Iterator[MetricChange]:
    """The numbers of one model before and after, with the interval of the difference where there is one.

    They are the task's measures, then its figures, then the costs. Intervals of quality are of the same rows where both
    have those, else from two sets of rows that share some. For sets that share none, and for other classes, there is
    none. Costs are judged by the rule of `flows.review.timing`. `same_data`: whether the clean rows are the same, for
    results without predictions. `not_run`: the outdated parts of the model's figures, "quality" or "cost".
    """
    withheld: Withheld | None = "not run" if "quality" in not_run else None
    why = apart(old, new, rules.task, same_data=same_data) if not withheld and old.quality and new.quality else ""
    if why:
        withheld = "not comparable"
        notes.append(f"{model}: its quality before and now cannot be compared: {why}.")
    for change in _quality(model, old, new, rules, settings):
        yield dataclasses.replace(change, **UNKNOWN, withheld=withheld, why=why) if withheld else change
    yield from _costs(model, old, new, notes, "not run" if "cost" in not_run else None)


UNKNOWN: dict[str, Any] = {"low": None, "high": None, "confidence": None}


def _quality(model: str, old: Results, new: Results, rules: Rules, settings: EvaluateParams) -> Iterator[MetricChange]:
    paired = bool(
        len(new.row_ids)
        and old.task == new.task
        and same_rows(old, new)
        and np.array_equal(old.truths, new.truths)  # sorted by their ids
    )
    for shown, interval in _numbers(old, new, rules, settings):
        before, after = number(old.quality, shown.key), number(new.quality, shown.key)
        change = MetricChange(model, shown.key, shown.unit, shown.better, before, after, title=shown.title)
        if before is not None and after is not None:
            ends = (interval() if paired else None) or _unpaired(shown.key, old, new)
            change = dataclasses.replace(change, low=ends.low, high=ends.high, confidence=settings.confidence)
        yield change


def _numbers(
    old: Results, new: Results, rules: Rules, settings: EvaluateParams
) -> Iterator[tuple[Shown, Callable[[], Interval | None]]]:
    """Each number of quality, and a function that gives the interval of its difference on the same rows."""
    applying = (one for one in judged_first(rules.task, rules.measure.name) if one.applies(new.truths.tolist()))
    for measure in applying:
        shown = Shown(measure.name, measure.title, measure.unit, measure.better)
        yield shown, partial(_of_measure, measure, old, new, rules.task, settings)
    for figure in rules.task.figures:
        yield (
            Shown(figure.key, figure.title, figure.unit, figure.better),
            partial(_of_figure, figure, old, new, settings),
        )


def _of_measure(measure: Measure, old: Results, new: Results, task: TaskMeasures, settings: EvaluateParams) -> Interval:
    before, after = both_counted(task, measure, old, new)
    return difference_interval(
        before, after, measure, confidence=settings.confidence, resamples=settings.resamples, seed=0
    )


def judged_on_both(model: str, old: Results, new: Results, rules: Rules, settings: EvaluateParams) -> MetricChange:
    """The change of the measure that is judged, for results on the same rows, with its paired interval."""
    measure = rules.measure
    before, after = (measured(side, measure) for side in both_counted(rules.task, measure, old, new))
    ends = _of_measure(measure, old, new, rules.task, settings)
    return MetricChange(
        model, measure.name, measure.unit, measure.better, before, after, ends.low, ends.high, settings.confidence,
        title=measure.title,
    )  # fmt: skip


def _of_figure(figure: Figure, old: Results, new: Results, settings: EvaluateParams) -> Interval | None:
    """The interval of a mean of the rows' own numbers, or of the calibration error; None where it cannot be had."""
    units_N, column = codes(new.units), figure.column
    if column is not None and column in old.own and column in new.own:
        return mean_difference_interval(old.own[column], new.own[column], units_N, confidence=settings.confidence)
    if figure.key != CALIBRATION or old.confidence_N is None or new.confidence_N is None:
        return None
    return error_difference_interval(
        (old.confidence_N, old.scores_N), (new.confidence_N, new.scores_N), units_N,
        bins=settings.calibration_bins, confidence=settings.confidence,
    )  # fmt: skip


def apart(old: Results, new: Results, task: TaskMeasures, *, same_data: bool) -> str:
    """Why the quality of two results cannot be compared, in words; empty where it can."""
    if old.task != new.task:
        return f"another task, {old.task} before and {new.task} now"
    known = [task.classes(side.own.keys()) for side in (old, new)]
    if not all(known):
        known = [frozenset(mapping(side.quality, f"per_{task.kind}")) for side in (old, new)]
    before, now = known
    if before and now and before != now:
        return f"other {plural(task.kind)}, {len(before):,} before and {len(now):,} now, {len(before & now):,} in both"
    if not len(old.row_ids) or not len(new.row_ids):
        return "" if same_data else "other data, and which test rows are in both is not known"
    if ranked := ranked_otherwise(task, old, new):
        return ranked.removesuffix(".")
    at_old, at_new = in_both(old, new)
    if not len(at_new):
        return "other test rows, none in both"
    kept = (old.truths[at_old] == new.truths[at_new]).any()
    return "" if kept else f"other {plural(task.kind)}, no test row has that of before"


def _costs(
    model: str, old: Results, new: Results, notes: list[str], withheld: Withheld | None
) -> Iterator[MetricChange]:
    machines = timing.other_machine(old.profile, new.profile) if old.profile and new.profile else ""
    if machines and not withheld:
        notes.append(f"{model}: times are of two machines and cannot be compared: {machines}.")
    for shown in (*COST, *OF_WRITING):
        before, after = timing.spread(old.profile, shown.key), timing.spread(new.profile, shown.key)
        if shown in OF_WRITING and before is after is None:
            continue
        change = MetricChange(
            model, shown.key, shown.unit, shown.better, before and before.value, after and after.value,
            withheld=withheld, title=shown.title,
        )  # fmt: skip
        if not withheld and before and after:
            if machines and shown.key != "size_mb":
                change = dataclasses.replace(change, withheld="other machine", why=machines)
            else:
                change = _judged(change, timing.compare(shown.key, before, after))
        yield change


def _judged(change: MetricChange, found: timing.Compared) -> MetricChange:
    withheld: Withheld | None = found.verdict if found.verdict in ("same", "too noisy to tell") else None
    return dataclasses.replace(change, low=found.low, high=found.high, withheld=withheld, why=found.why)


def _unpaired(key: str, old: Results, new: Results) -> Interval:
    """The interval of a difference, from that of each side; infinite where one has none."""
    before, after = (_own_interval(key, side) for side in (old, new))
    return independent_difference(before, after) if before and after else Interval(-np.inf, np.inf, 0.0)


def _own_interval(key: str, results: Results) -> Interval | None:
    low, high = (number(results.quality, "intervals", key, end) for end in ("low", "high"))
    estimate = number(results.quality, key)
    return None if low is None or high is None or estimate is None else Interval(low, high, estimate)
