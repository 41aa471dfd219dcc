"""The tables of the page, of the records of a review. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flows.review.evidence import KINDS, Flip, MetricChange, ModelView, ParamChange, Review, number
from flows.review.page.cells import NOT_KNOWN, Cell, Table, cell, marked, shown
from flows.review.pull_request import NAMES

FLIPS_SHOWN = 500
TEXT_SHOWN = 400  # characters of a text
PARAM_SHOWN = 300  # characters of a parameter's value
VERDICTS = {
    "better": "✓", "worse": "✗", "no clear change": "≈", "same": "=", "unchanged": "=", "unknown": "?",
    "not run": "✗", "not comparable": "≠", "other machine": "≠", "too noisy to tell": "?",
}  # fmt: skip
KIND_MARKS = {"right to wrong": "✗", "wrong to right": "✓", "wrong to wrong": "≈"}
MODEL_COLUMNS = (  # where, key, title, unit
    ("quality", "macro_f1", "Macro-F1", "share"),
    ("quality", "accuracy", "Accuracy", "share"),
    ("profile", "latency_p50_ms", "Latency p50", "ms"),
    ("profile", "latency_p99_ms", "Latency p99", "ms"),
    ("profile", "throughput_rows_per_s", "Throughput", "rows/s"),
    ("profile", "size_mb", "Size", "MB"),
    ("profile", "peak_rss_mb", "Peak memory", "MB"),
    ("profile", "start_up_ms", "Start-up", "ms"),
    ("profile", "energy_j_per_1000_rows", "Energy, 1,000 rows", "J"),
)


def tables(review: Review) -> dict[str, Any]:
    return {
        "params_table": _params(review.params),
        "metrics_table": _metrics(review),
        "models_table": _models(review),
        "paired_table": _paired(review),
        "labels_table": _labels(review),
        "flips_table": _flips(review),
    }


def _param(found: Any) -> Cell:
    text = "none" if found is None else str(found)
    return Cell(text if len(text) <= PARAM_SHOWN else text[: PARAM_SHOWN - 1] + "…", style="code")


def _params(changes: Sequence[ParamChange]) -> Table:
    rows = tuple((Cell(change.key, style="code"), _param(change.before), _param(change.after)) for change in changes)
    return Table("params", "Parameters with another value.", ("Parameter", "Before", "After"), rows)


def _metrics(review: Review) -> Table:
    names = candidate_first((change.model for change in review.metrics), review)
    known = [c for name in names for c in review.metrics if c.model == name and not c.before is c.after is None]
    levels = sorted({f"{c.confidence:.0%}" for c in known if c.confidence is not None})
    sure = f" Intervals of the difference: {' or '.join(levels)}, on the same test rows in pairs." if levels else ""
    present = tuple(name for name in names if any(change.model == name for change in known))
    return Table(
        "metrics",
        f"Every number of every model, before and after.{sure}",
        ("Model", "Metric", "Before", "After", "Difference", "Interval", "Verdict"),
        tuple(_metric(change) for change in known),
        tuple({"model": change.model} for change in known),
        {"model": present},
        {"model": review.candidate} if review.candidate in present else {},
    )


def _metric(change: MetricChange) -> tuple[Cell, ...]:
    return (
        Cell(change.model),
        Cell(NAMES.get(change.metric, change.metric), note=f"{change.better} is better"),
        cell(change.before, change.unit),
        cell(change.after, change.unit),
        cell(change.difference, change.unit, signed=True),
        _interval(change),
        marked(change.verdict, VERDICTS, note=change.why),
    )


def _interval(change: MetricChange) -> Cell:
    """The ends of the difference; those of times are a rule of thumb, without a confidence, and are not shown."""
    low, high = (shown(end, change.unit, signed=True) for end in (change.low, change.high))
    if change.confidence is None or NOT_KNOWN in (low, high):
        return Cell(NOT_KNOWN, style="number")
    return Cell(f"{low.partition(' ')[0]} to {high}", change.low, "number")


def _models(review: Review) -> Table:
    sides = tuple(sides_of(review))
    columns = [
        column
        for column in MODEL_COLUMNS
        if any(
            view and number(getattr(view, column[0]), column[1]) is not None for _, *views in sides for view in views
        )
    ]
    rows = tuple(
        (Cell(name), *(_cost(before, after, where, key, unit) for where, key, _, unit in columns))
        for name, before, after in sides
    )
    return Table(
        "models",
        "Quality and cost of every model after the change; small, what it was before.",
        ("Model", *(title for _, _, title, _ in columns)),
        rows if columns else (),
    )


def _cost(before: ModelView | None, after: ModelView | None, where: str, key: str, unit: str) -> Cell:
    old, new = (number(getattr(view, where), key) if view else None for view in (before, after))
    return cell(new, unit, note="" if old is None or old == new else f"was {shown(old, unit)}")


def _paired(review: Review) -> Table:
    rows = tuple(
        (
            Cell(pair.model),
            Cell(f"{pair.rows:,}", pair.rows, "number"),
            Cell(f"{pair.wrong_to_right:,}", pair.wrong_to_right, "number"),
            Cell(f"{pair.right_to_wrong:,}", pair.right_to_wrong, "number"),
            Cell(f"{pair.p_value:.2g}", pair.p_value, "number"),
        )
        for pair in sorted(review.paired, key=lambda pair: pair.model != review.candidate)
    )
    columns = ("Model", "Test rows", "Wrong to right", "Right to wrong", "p")
    return Table(
        "paired", "The same test rows before and after; p is of McNemar’s exact test, two-sided.", columns, rows
    )


def _labels(review: Review) -> Table:
    """The labels of the candidate, those that lost most first."""
    found = sorted(review.labels, key=lambda label: (label.after - label.before) / label.rows)
    rows = tuple(
        (
            Cell(label.label, style="label"),
            Cell(f"{label.rows:,}", label.rows, "number"),
            cell(label.before / label.rows, "share"),
            cell(label.after / label.rows, "share"),
            cell((label.after - label.before) / label.rows, "share", signed=True),
            Cell(f"{label.after - label.before:+,}".replace("-", "−"), label.after - label.before, "number"),
            marked(label.verdict, VERDICTS),
        )
        for label in found
    )
    return Table(
        "labels",
        "Of the test rows with each label, those that both revisions have, the share answered rightly. Better or "
        "worse where McNemar’s exact test says so, corrected for the number of labels.",
        ("Label", "Test rows", "Right before", "Right after", "Difference", "Rows", "Verdict"),
        rows,
        search="Search the labels",
    )


def _flips(review: Review) -> Table:
    """The rows whose answer differs: the candidate's are kept before others, and those that were right come first."""

    def rank(flip: Flip) -> tuple[int, bool]:
        return KINDS.index(flip.kind), flip.model != review.candidate

    kept = sorted(review.flips, key=lambda flip: (flip.model != review.candidate, KINDS.index(flip.kind)))
    flips = sorted(kept[:FLIPS_SHOWN], key=rank)
    models = candidate_first((flip.model for flip in flips), review)
    return Table(
        "flips",
        "Test rows that a model answers differently than before.",
        ("Kind", "Text", "Label", "Before", "After", "Confidence", "Model"),
        tuple(_flip(flip) for flip in flips),
        tuple({"kind": flip.kind, "model": flip.model} for flip in flips),
        {"kind": tuple(kind for kind in KINDS if any(flip.kind == kind for flip in flips)), "model": models},
        {"model": review.candidate} if review.candidate in models else {},
        search="Search the texts and labels",
    )


def _flip(flip: Flip) -> tuple[Cell, ...]:
    text = flip.text if len(flip.text) <= TEXT_SHOWN else flip.text[: TEXT_SHOWN - 1] + "…"
    return (
        marked(flip.kind, KIND_MARKS),
        Cell(text or f"row {flip.row_id}", style="text"),
        Cell(flip.label, style="label"),
        Cell(flip.before, style="label"),
        Cell(flip.after, style="label"),
        cell(
            flip.sure_after, "share", note="" if flip.sure_before is None else f"was {shown(flip.sure_before, 'share')}"
        ),
        Cell(flip.model),
    )


def view_of(views: Iterable[ModelView], review: Review) -> ModelView | None:
    return next((view for view in views if view.name == review.candidate), None)


def names_of(review: Review) -> tuple[str, ...]:
    """The names of all models in the order of the pipeline, so that each has one colour in all charts."""
    return tuple(dict.fromkeys(view.name for view in (*review.after, *review.before)))


def candidate_first(names: Iterable[str], review: Review) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(names), key=lambda name: name != review.candidate))


def sides_of(review: Review) -> Iterator[tuple[str, ModelView | None, ModelView | None]]:
    """Every model with its view before and after."""
    before, after = ({view.name: view for view in views} for views in (review.before, review.after))
    for name in names_of(review):
        yield name, before.get(name), after.get(name)
