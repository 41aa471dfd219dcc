"""What differs between two revisions: parameters, stages, numbers. Pure: values in, records out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from scipy import stats

from flows.evidence import MetricChange, ParamChange, Results, StageChange, Unit, number
from stages.measures.paired import difference_interval
from stages.measures.score import Interval, independent_difference
from stages.params import EvaluateParams, Measure

TIMING_NOISE = 0.1  # two runs of the same code on the same machine differ by so much of a time, or of a peak of memory


class Shown(NamedTuple):
    """A number of a metrics file, and how to read it."""

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
    """Every value that differs, by its dotted key; in the order of the newer file."""
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
    """The stages whose entry in dvc.lock is another, with what is another in it."""
    old, new = before.get("stages") or {}, after.get("stages") or {}
    for name in dict.fromkeys([*new, *old]):
        if name not in new:
            yield StageChange(name, ("it is gone",))
        elif name not in old:
            yield StageChange(name, ("it is new",))
        elif reasons := tuple(_reasons(old[name], new[name])):
            yield StageChange(name, reasons)


def _reasons(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Why a stage ran: its command, what it reads, its parameters; where none differs, that its outs do."""
    found = False
    if old.get("cmd") != new.get("cmd"):
        found = True
        yield "its command changed"
    for change in params(_of_files(old), _of_files(new)):
        found = True
        yield f"{change.key.partition(':')[2]}: {change.before} -> {change.after}"
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
    model: str, old: Results, new: Results, settings: EvaluateParams, notes: list[str]
) -> Iterator[MetricChange]:
    """The numbers of one model before and after; the interval of the difference where one can be given.

    Intervals of quality are of the same rows, in pairs, where both have them; else of two sets of rows. Times and
    memory have one too: they are equal within TIMING_NOISE. A size is exact.
    """
    same_rows = np.array_equal(old.row_ids, new.row_ids) and np.array_equal(old.labels, new.labels) and len(new.labels)
    for shown in QUALITY:
        before, after = number(old.quality, shown.key), number(new.quality, shown.key)
        ends = None
        if before is not None and after is not None:
            ends = _paired(shown.key, old, new, settings) if same_rows else _unpaired(shown.key, old, new)
        yield _change(model, shown, before, after, ends, settings.confidence)
    machines = {str(results.profile.get("processor", "one not known")) for results in (old, new) if results.profile}
    if len(machines) > 1:
        notes.append(f"{model}: times are of two machines and cannot be compared: {' and '.join(sorted(machines))}.")
    for shown in COST:
        before, after = number(old.profile, shown.key), number(new.profile, shown.key)
        comparable = len(machines) == 1 or shown.key == "size_mb"
        ends = None
        if before is not None and after is not None and shown.key != "size_mb":
            noise = TIMING_NOISE * before if comparable else np.inf
            ends = (after - before - noise, after - before + noise)
        yield _change(model, shown, before, after, ends, None)


def _change(
    model: str,
    shown: Shown,
    before: float | None,
    after: float | None,
    ends: tuple[float, float] | None,
    confidence: float | None,
) -> MetricChange:
    low, high = ends if ends else (None, None)
    return MetricChange(
        model, shown.key, shown.unit, shown.better, before, after, low, high, confidence if ends else None
    )


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
    """From the interval of each. Without one, no end is known."""
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
