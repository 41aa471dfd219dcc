"""The tables of the page, of the records of a review. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flows.review.differences import COLUMNS, Column, by_column, difference, ends, written
from flows.review.evidence import KINDS, Flip, MetricChange, ModelView, ParamChange, PartChange, Review, number
from flows.review.markdown import capital
from flows.review.page import marked as in_page
from flows.review.page.cells import NOT_KNOWN, Cell, Table, cell, counted, marked, shown, typeset
from flows.review.page.marked import colours, lines
from flows.review.parts import moved_first
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
        "metrics_tables": _metrics(review),
        "models_table": _models(review),
        "paired_table": _paired(review),
        "parts_table": _parts(review),
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


def _metrics(review: Review) -> list[Table]:
    """A table for each unit that differences have; the first one's filter is of all."""
    names = candidate_first((change.model for change in review.metrics), review)
    known = [c for name in names for c in review.metrics if c.model == name and not c.before is c.after is None]
    levels = sorted({f"{c.confidence:.0%}" for c in known if c.confidence is not None})
    sure = f" Intervals: {' or '.join(levels)}, on the same test rows in pairs where both have them." if levels else ""
    present = tuple(name for name in names if any(change.model == name for change in known))
    found = [_of_column(column, changes, sure) for column, changes in by_column(known).items()]
    if found:
        found[0] = dataclasses.replace(
            found[0],
            filters={"model": present},
            chosen={"model": review.candidate} if review.candidate in present else {},
            together=tuple(table.key for table in found[1:]),
        )
    return found


def _of_column(column: Column, changes: Sequence[MetricChange], sure: str) -> Table:
    unit = " Changes are in percent of the number before, as these have several units." if column.is_relative else ""
    return Table(
        "metrics" if column == COLUMNS[0] else column.key,
        f"{column.title} of every model, before and after.{unit}{sure}",
        ("Model", "Metric", "Before", "After", column.heading, "Interval", "Verdict"),
        tuple(_metric(change) for change in changes),
        tuple({"model": change.model} for change in changes),
    )


def _metric(change: MetricChange) -> tuple[Cell, ...]:
    return (
        Cell(change.model),
        Cell(change.name, note=f"{change.better} is better"),
        cell(change.before, change.unit),
        cell(change.after, change.unit),
        _difference(difference(change), change),
        _interval(change),
        marked(change.verdict, VERDICTS, note=change.why),
    )


def _difference(found: float | None, change: MetricChange) -> Cell:
    return Cell(NOT_KNOWN if found is None else typeset(written(found, change.unit)), found, "number")


def _interval(change: MetricChange) -> Cell:
    """The ends of the difference, in its column's unit."""
    if (found := ends(change)) is None:
        return Cell(NOT_KNOWN, style="number")
    low, high = (typeset(written(end, change.unit)) for end in found)
    return Cell(f"{low} to {high}", found[0], "number")


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
        (Cell(name), *(_cost(before, after, where, key, unit, review) for where, key, _, unit in columns))
        for name, before, after in sides
    )
    return Table(
        "models",
        "Quality and cost of every model after the change; small, what it was before.",
        ("Model", *(title for _, _, title, _ in columns)),
        rows if columns else (),
    )


def _cost(before: ModelView | None, after: ModelView | None, where: str, key: str, unit: str, review: Review) -> Cell:
    old, new = (number(getattr(view, where), key) if view else None for view in (before, after))
    name = next(view.name for view in (after, before) if view)
    verdict = next((c.verdict for c in review.metrics if (c.model, c.metric) == (name, key)), "")
    apart = f", {verdict}" if verdict in ("other machine", "not comparable") else ""
    return cell(new, unit, note="" if old is None or old == new else f"was {shown(old, unit)}{apart}")


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


def _parts(review: Review) -> Table:
    """The parts of the candidate's rows, those that got worse first, then those that got better."""
    found = moved_first(review.parts)
    kinds = tuple(dict.fromkeys(part.by for part in review.parts))
    measures = " or ".join(dict.fromkeys(part.measure for part in review.parts))
    return Table(
        "by-part",
        f"{capital(measures)} of {_rows_of_parts(review)}, before and after, and how many rows got better and worse. "
        f"Intervals of the difference: {review.confidence:.0%}. Better or worse where a test of the rows says so, "
        "corrected for the number of parts of one kind.",
        ("By", "Part", "Test rows", "Better", "Worse", "Before", "After", "Difference, points", "Interval", "Verdict"),
        tuple(_part(part) for part in found),
        tuple({"by": part.by, "verdict": part.verdict} for part in found),
        {"by": kinds, "verdict": tuple(dict.fromkeys(part.verdict for part in found))} if found else {},
        search="Search the parts",
    )


def _rows_of_parts(review: Review) -> str:
    """The rows that parts are of; where they are not all of both sides, how many each side has."""
    pair = review.of_candidate
    if pair is None or not pair.has_other_rows:
        return "the test rows"
    return (
        f"the {counted(pair.rows, 'test row')} that both revisions have with the same truth, of "
        f"{pair.rows_before:,} before and {pair.rows_after:,} after"
    )


def _part(part: PartChange) -> tuple[Cell, ...]:
    change, low, high = (written(100 * end, "share") for end in (part.after - part.before, part.low, part.high))
    return (
        Cell(part.by),
        Cell(part.name, style="label"),
        *(Cell(f"{rows:,}", rows, "number") for rows in (part.rows, part.better, part.worse)),
        cell(part.before, "share"),
        cell(part.after, "share"),
        Cell(typeset(change), part.after - part.before, "number"),
        Cell(typeset(f"{low} to {high}"), part.low, "number"),
        marked(part.verdict, VERDICTS),
    )


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
            *(Cell("", style="marked", lines=(line,)) for line in in_page.written(flip, TEXT_SHOWN)),
        )
    text = flip.text if len(flip.text) <= TEXT_SHOWN else flip.text[: TEXT_SHOWN - 1] + "…"
    return (
        Cell(text or f"row {flip.row_id}", style="text", image=flip.image),
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
