"""The tables of the page, of the records of a review. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flows.review.evidence import KINDS, Flip, MetricChange, ModelView, ParamChange, Review, number
from flows.review.markdown import capital, plural
from flows.review.page.cells import NOT_KNOWN, Cell, Table, cell, marked, shown
from flows.review.page.marked import colours, lines, written
from flows.review.written import shortened, start_of

FLIPS_SHOWN = 500
TEXT_SHOWN = 400  # characters of a text
PARAM_SHOWN = 300  # characters of a parameter's value
VERDICTS = {
    "better": "✓", "worse": "✗", "no clear change": "≈", "same": "=", "unchanged": "=", "unknown": "?",
    "not run": "✗", "not comparable": "≠", "other machine": "≠", "too noisy to tell": "?",
}  # fmt: skip
KIND_MARKS = {"worse": "✗", "better": "✓", "other": "≈"}
COST_COLUMNS = (  # where, key, title, unit
    ("profile", "latency_p50_ms", "Latency p50", "ms"),
    ("profile", "latency_p99_ms", "Latency p99", "ms"),
    ("profile", "throughput_rows_per_s", "Throughput", "rows/s"),
    ("profile", "tokens_per_s", "Writing", "tokens/s"),
    ("profile", "tokens_per_s_batch", "Writing in a batch", "tokens/s"),
    ("profile", "first_text_ms", "First words", "ms"),
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
        "groups_table": _groups(review),
        "flips_table": _flips(review),
        "marks": colours(review.flips),
        "written": any(flip.written for flip in review.flips),
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
        Cell(change.name, note=f"{change.better} is better"),
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
    quality = [("quality", one.name, capital(one.title), one.unit) for one in review.measures]
    columns = [
        column
        for column in (*quality, *COST_COLUMNS)
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
            Cell(f"{pair.better:,}", pair.better, "number"),
            Cell(f"{pair.worse:,}", pair.worse, "number"),
            Cell(f"{pair.p_value:.2g}", pair.p_value, "number"),
        )
        for pair in sorted(review.paired, key=lambda pair: pair.model != review.candidate)
    )
    columns = ("Model", "Test rows", "Better", "Worse", "p")
    return Table(
        "paired",
        "The same test rows before and after; p is of chance alone, two-sided: the exact sign test where "
        "answers are right or wrong.",
        columns,
        rows,
    )


def _groups(review: Review) -> Table:
    """The groups of the candidate's rows by their truth, those that lost most first."""
    found = sorted(review.groups, key=lambda group: (group.after - group.before) / group.rows)
    rows = tuple(
        (
            Cell(group.group, style="label"),
            Cell(f"{group.rows:,}", group.rows, "number"),
            cell(group.before / group.rows, "share"),
            cell(group.after / group.rows, "share"),
            cell((group.after - group.before) / group.rows, "share", signed=True),
            _moved(group.after - group.before),
            marked(group.verdict, VERDICTS),
        )
        for group in found
    )
    kinds, score = plural(review.kind), capital(review.score_title)
    return Table(
        "by-truth",
        f"The test rows of each {review.kind}, those that both revisions have: {review.score_title} before and after. "
        f"Better or worse where an exact test says so, corrected for the number of {kinds}.",
        (capital(review.kind), "Test rows", f"{score} before", f"{score} after", "Difference", "Rows", "Verdict"),
        rows,
        search=f"Search the {kinds}",
    )


def _moved(score: float) -> Cell:
    return Cell(f"{round(score, 1):+,g}".replace("-", "−"), score, "number")


def _flips(review: Review) -> Table:
    """The rows whose answer differs: the candidate's are kept before others, and those that got worse come first."""

    def rank(flip: Flip) -> tuple[int, bool]:
        return KINDS.index(flip.kind), flip.model != review.candidate

    kept = sorted(review.flips, key=lambda flip: (flip.model != review.candidate, KINDS.index(flip.kind)))
    flips = sorted(kept[:FLIPS_SHOWN], key=rank)
    models = candidate_first((flip.model for flip in flips), review)
    colour = colours(review.flips)
    answers = ("Text",) if any(flip.marked for flip in flips) else ("Text", "Truth", "Before", "After")
    return Table(
        "flips",
        "Test rows that a model answers differently than before.",
        ("Kind", *answers, "Confidence", "Model"),
        tuple(_flip(flip, colour) for flip in flips),
        tuple({"kind": flip.kind, "model": flip.model} for flip in flips),
        {"kind": tuple(kind for kind in KINDS if any(flip.kind == kind for flip in flips)), "model": models},
        {"model": review.candidate} if review.candidate in models else {},
        search="Search the texts and answers",
    )


def _flip(flip: Flip, colour: Mapping[str, int]) -> tuple[Cell, ...]:
    return (
        marked(flip.kind, KIND_MARKS),
        *_answers(flip, colour),
        cell(
            flip.sure_after, "share", note="" if flip.sure_before is None else f"was {shown(flip.sure_before, 'share')}"
        ),
        Cell(flip.model),
    )


def _answers(flip: Flip, colour: Mapping[str, int]) -> tuple[Cell, ...]:
    """The text, the truth and both answers; in one cell where they mark places of the text.

    Written answers stand beside each other, each with the words that the other has not.
    """
    if flip.marked:
        return (Cell("", style="marked", lines=lines(flip, flip.marked, colour, TEXT_SHOWN)),)
    if flip.written:
        start = start_of(flip.before, flip.after, TEXT_SHOWN)
        texts = (shortened(flip.text, 0, TEXT_SHOWN) or f"row {flip.row_id}", shortened(flip.truth, start, TEXT_SHOWN))
        return (
            *(Cell(text, style="text") for text in texts),
            *(Cell("", style="marked", lines=(line,)) for line in written(flip, TEXT_SHOWN)),
        )
    text = flip.text if len(flip.text) <= TEXT_SHOWN else flip.text[: TEXT_SHOWN - 1] + "…"
    return (
        Cell(text or f"row {flip.row_id}", style="text"),
        *(Cell(answer, style="label") for answer in (flip.truth, flip.before, flip.after)),
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
