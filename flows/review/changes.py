"""The differences between two revisions: parameters, stages, numbers. Pure: values in, records out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from scipy import stats

from flows.review import timing
from flows.review.evidence import LabelChange, MetricChange, ParamChange, Results, StageChange, Unit, Withheld, number
from stages.core.params.evaluate import EvaluateParams
from stages.core.params.values import Measure
from stages.measures.paired import difference_interval, mcnemar
from stages.measures.score import Interval, independent_difference


class Shown(NamedTuple):
    """A number of a metrics file, and how it is shown."""

    key: str
    unit: Unit
    better: Literal["higher", "lower"]


QUALITY = (
    Shown("accuracy", "share", "higher"),
    Shown("macro_f1", "share", "higher"),
    Shown("log_loss", "nats", "lower"),
    Shown("brier", "", "lower"),
    Shown("ece", "share", "lower"),
)
COST = (
    Shown("latency_p50_ms", "ms", "lower"),
    Shown("latency_p99_ms", "ms", "lower"),
    Shown("throughput_rows_per_s", "rows/s", "higher"),
    Shown("start_up_ms", "ms", "lower"),
    Shown("peak_rss_mb", "MB", "lower"),
    Shown("size_mb", "MB", "lower"),
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
    settings: EvaluateParams,
    notes: list[str],
    *,
    same_data: bool = True,
    not_run: Collection[str] = (),
) -> Iterator[MetricChange]:
    """The numbers of one model before and after, with the interval of the difference where there is one.

    Intervals of quality are computed in pairs where both have the same rows, else from two sets of rows that share
    some. For sets that share none, and for other labels, there is none. Costs are judged by the rule of
    `flows.review.timing`. `same_data`: whether the clean rows are the same, for results without predictions. `not_run`:
    the outdated parts of the model's figures, "quality" or "cost".
    """
    yield from _quality(model, old, new, settings, notes, "not run" if "quality" in not_run else None, same_data)
    yield from _costs(model, old, new, notes, "not run" if "cost" in not_run else None)


def _quality(
    model: str,
    old: Results,
    new: Results,
    settings: EvaluateParams,
    notes: list[str],
    withheld: Withheld | None,
    same_data: bool,
) -> Iterator[MetricChange]:
    why = apart(old, new, same_data=same_data) if not withheld and old.quality and new.quality else ""
    if why:
        withheld = "not comparable"
        notes.append(f"{model}: its quality before and now cannot be compared: {why}.")
    same_rows = np.array_equal(old.row_ids, new.row_ids) and np.array_equal(old.labels, new.labels) and len(new.labels)
    for shown in QUALITY:
        before, after = number(old.quality, shown.key), number(new.quality, shown.key)
        change = MetricChange(model, shown.key, shown.unit, shown.better, before, after, withheld=withheld, why=why)
        if not withheld and before is not None and after is not None:
            ends = _paired(shown.key, old, new, settings) if same_rows else _unpaired(shown.key, old, new)
            if ends:
                change = dataclasses.replace(change, low=ends[0], high=ends[1], confidence=settings.confidence)
        yield change


def apart(old: Results, new: Results, *, same_data: bool) -> str:
    """Why the quality of two results cannot be compared, in words; empty where it can."""
    given = [set(side.names) for side in (old, new)]
    before, now = given if all(given) else [set(side.quality.get("per_label") or {}) for side in (old, new)]
    if before and now and before != now:
        return f"other labels, {len(before):,} before and {len(now):,} now, {len(before & now):,} in both"
    if not len(old.row_ids) or not len(new.row_ids):
        return "" if same_data else "other data, and which test rows are in both is not known"
    common, at_old, at_new = np.intersect1d(old.row_ids, new.row_ids, return_indices=True)
    if not len(common):
        return "other test rows, none in both"
    return "" if (old.labels[at_old] == new.labels[at_new]).any() else "other labels, no test row has that of before"


def _costs(
    model: str, old: Results, new: Results, notes: list[str], withheld: Withheld | None
) -> Iterator[MetricChange]:
    machines = timing.other_machine(old.profile, new.profile) if old.profile and new.profile else ""
    if machines and not withheld:
        notes.append(f"{model}: times are of two machines and cannot be compared: {machines}.")
    for shown in COST:
        before, after = timing.spread(old.profile, shown.key), timing.spread(new.profile, shown.key)
        change = MetricChange(
            model, shown.key, shown.unit, shown.better, before and before.value, after and after.value,
            withheld=withheld,
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


def by_label(model: str, old: Results, new: Results, confidence: float) -> Iterator[LabelChange]:
    """For each label, its rows that became right or wrong; both results have the same rows, in one order.

    A label is better or worse where McNemar's exact test says so at `confidence`, with Bonferroni's correction.
    """
    names, was, now = np.unique(new.labels), old.predicted == new.labels, new.predicted == new.labels
    for name in names:
        own = new.labels == name
        lost, won = int((own & was & ~now).sum()), int((own & ~was & now).sum())
        sure = mcnemar(lost, won) < (1 - confidence) / len(names)
        verdict: Literal["better", "worse"] = "better" if won > lost else "worse"
        counts = int(own.sum()), int((own & was).sum()), int((own & now).sum())
        yield LabelChange(model, str(name), *counts, verdict=verdict if sure else "no clear change")


def _paired(key: str, old: Results, new: Results, settings: EvaluateParams) -> tuple[float, float] | None:
    if key in ("accuracy", "macro_f1"):
        interval = difference_interval(
            new.labels, old.predicted, new.predicted, measure=cast(Measure, key), confidence=settings.confidence,
            resamples=settings.resamples, seed=0,
        )  # fmt: skip
        return interval.low, interval.high
    if not set(new.labels) <= set(old.names) & set(new.names):
        return None
    if key == "ece":
        return _ece_interval(old, new, settings)
    difference = PER_ROW[key](new) - PER_ROW[key](old)
    if len(difference) < 2:
        return None
    half = stats.t.ppf((1 + settings.confidence) / 2, len(difference) - 1) * stats.sem(difference)
    return float(difference.mean() - half), float(difference.mean() + half)


def _unpaired(key: str, old: Results, new: Results) -> tuple[float, float]:
    """The ends of a difference, from the interval of each side; infinite where one has none."""
    ends = [(results.quality.get("intervals") or {}).get(key) for results in (old, new)]
    if ends[0] is None or ends[1] is None:
        return -np.inf, np.inf
    difference = independent_difference(
        Interval(ends[0]["low"], ends[0]["high"], old.quality[key]),
        Interval(ends[1]["low"], ends[1]["high"], new.quality[key]),
    )
    return difference.low, difference.high


def _of_truth(results: Results) -> np.ndarray:
    position = {name: i for i, name in enumerate(results.names)}
    return results.probabilities[np.arange(len(results.labels)), [position[label] for label in results.labels]]


PER_ROW: dict[str, Callable[[Results], np.ndarray]] = {
    "log_loss": lambda results: -np.log(np.maximum(_of_truth(results), 1e-6)),  # predictions hold six digits
    "brier": lambda results: np.square(results.probabilities).sum(1) - 2 * _of_truth(results) + 1,
}


def _ece_interval(old: Results, new: Results, settings: EvaluateParams, resamples: int = 300) -> tuple[float, float]:
    """Percentile bootstrap of the difference of the calibration errors, rows drawn in pairs."""
    rows, bins = len(new.labels), settings.calibration_bins
    sides = []
    for results in (old, new):
        confidence = results.probabilities.max(1)
        bin_ = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        sides.append((bin_, confidence - (results.predicted == results.labels)))
    draw = np.random.default_rng(0)
    differences = []
    for _ in range(resamples):
        drawn = draw.integers(rows, size=rows)
        errors = [np.abs(np.bincount(b[drawn], weights=gap[drawn], minlength=bins)).sum() / rows for b, gap in sides]
        differences.append(errors[1] - errors[0])
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(differences, (tail, 1 - tail))
    return float(low), float(high)
