"""The review of a change as one HTML page that opens without a network: tables, charts, examples. Pure.

Texts of anybody's are in it, so nothing is trusted: Jinja2 escapes all, the charts' data are JSON without a "<", and
the page's own policy runs the two scripts whose hashes it names and loads nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from flows.evidence import KINDS, Flip, MetricChange, ModelView, ParamChange, Review, Revision, number
from flows.markdown import value
from flows.review import NAMES

TEMPLATES = Path(__file__).parent / "templates"
FLIPS_SHOWN = 500
TEXT_SHOWN = 400  # characters of a text
PARAM_SHOWN = 300  # characters of a parameter's value
CONFUSIONS_SHOWN = 12  # of a model, below its matrices
STAGES_OPEN = 6  # more of them are folded
NOT_KNOWN = "–"
IDENTITY = "he, she and the like"
OUTCOMES = {"pass": "✓", "fail": "✗", "inconclusive": "?", "cannot tell": "–", "not judged": "–"}
VERDICTS = {"better": "✓", "worse": "✗", "no clear change": "≈", "unchanged": "=", "unknown": "?"}
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


class Cell(NamedTuple):
    text: str
    value: float | str | None = None  # what it is sorted by, where not by its text
    style: str = ""  # "number", "code", "text", "mark"
    note: str = ""  # small, below the text
    mark: str = ""  # a sign before the text, of style "mark"


@dataclass(frozen=True)
class Table:
    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    tags: tuple[Mapping[str, str], ...] = ()  # of each row, what the filters look at
    filters: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    chosen: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what a filter is set to at first

    def numeric(self, column: int) -> bool:
        return any(row[column].style == "number" for row in self.rows)


def render(review: Review) -> str:
    """The whole page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = dict(_charts(review))
    ours = (TEMPLATES / "review.js").read_text(encoding="utf-8")
    scripts = [_script(source) for source in ([_vega(), ours] if charts else [ours])]
    page = environment.get_template("review.html.j2").render(
        **_texts(review),
        **_tables(review),
        review=review,
        panels=_panels(review),
        curves=[(f"curve-{i}", name) for i, name in enumerate(review.curves) if f"curve-{i}" in charts],
        charts=charts,
        data=_json({"charts": charts, "config": CONFIG}),
        css=Markup((TEMPLATES / "review.css").read_text(encoding="utf-8")),  # noqa: S704  (a file of ours)
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        policy=" ".join(f"'sha256-{_sha256(script)}'" for script in scripts),
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script (2 seconds, 900 kB)."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _script(source: str) -> str:
    """JavaScript that cannot end its own element."""
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r\n", "\n")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(content: Any) -> Markup:
    """JSON, ASCII only and without "<", ">" and "&", so that no text in it ends the script element or is markup."""
    text = json.dumps(_finite(content), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704


def _finite(content: Any) -> Any:
    """The same with None for what JSON cannot say: infinities and "not a number"."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _finite(entry) for key, entry in content.items()}
    return [_finite(entry) for entry in content] if isinstance(content, list | tuple) else content


# ---- numbers and sentences


def _mapping(values: Any, key: str) -> Mapping[str, Any]:
    found = values.get(key) if isinstance(values, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _shown(number: float | None, unit: str = "", *, signed: bool = False) -> str:
    text = value(number, unit, signed=signed)
    return NOT_KNOWN if text == "-" else text.replace("-", "−").removeprefix("+" if number == 0 else "")


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _cell(number: float | None, unit: str = "", *, signed: bool = False, note: str = "") -> Cell:
    return Cell(_shown(number, unit, signed=signed), number, "number", note)


def _marked(text: str, marks: Mapping[str, str]) -> Cell:
    return Cell(text, list(marks).index(text), "mark", mark=marks[text])


def _revision(revision: Revision) -> str:
    """Its name, and its hash where that says more."""
    known = revision.commit and not revision.name.startswith(revision.commit)
    return f"{revision.name} ({revision.commit})" if known else revision.name


def _texts(review: Review) -> dict[str, Any]:
    outcome = review.decision.outcome if review.decision else "none"
    return {
        "title": f"{review.head.name} against {review.base.name}",
        "outcome": outcome,
        "verdict": {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "none": "No verdict"}[outcome],
        "outcome_marks": {**OUTCOMES, "none": "–"},
        "summary": _summary(review),
        "sides": (("Base", review.base), ("Head", review.head)),
        "versus": f"{_revision(review.head)} against {_revision(review.base)}",
        "stages_open": len(review.stages) <= STAGES_OPEN,
        "flips_total": len(review.flips),
        "flips_shown": min(len(review.flips), FLIPS_SHOWN),
        "text_shown": TEXT_SHOWN,
        "worst": _worst(review),
        "dashed": bool((view := _view(review.before, review)) and view.reliability),
    }


def _summary(review: Review) -> str:
    """One sentence: what moved in the candidate, and what made it move."""
    changed, ran = (_count(*of) for of in ((len(review.params), "parameter"), (len(review.stages), "stage")))
    made = f"{changed} changed and {ran} ran again" if review.params or review.stages else "nothing in it changed"
    found = [
        f"{NAMES.get(change.metric, change.metric)} {_shown(change.before, change.unit)} → "
        f"{_shown(change.after, change.unit)} ({change.verdict})"
        for metric in ("macro_f1", "latency_p50_ms", "size_mb")
        for change in review.metrics
        if change.model == review.candidate and change.metric == metric and change.after is not None
    ]
    subject = review.candidate or "The model to release"
    return f"{subject}: {', '.join(found)}; {made}." if found else f"{subject} has no metrics to compare; {made}."


def _worst(review: Review) -> str:
    parts = []
    for word, view in (("before", _view(review.before, review)), ("after", _view(review.after, review))):
        worst = _mapping(view.quality, "worst_slice") if view else {}
        if (accuracy := number(worst, "accuracy")) is not None:
            rows = int(number(worst, "rows") or 0)
            parts.append(f"{word} “{worst.get('name')}” ({_shown(accuracy, 'share')} of {rows:,} rows right)")
    return f"The weakest slice: {'; '.join(parts)}." if parts else ""


def _view(views: Iterable[ModelView], review: Review) -> ModelView | None:
    return next((view for view in views if view.name == review.candidate), None)


def _names(review: Review) -> tuple[str, ...]:
    """Every model, in the order of the pipeline; so it has one colour in all charts."""
    return tuple(dict.fromkeys(view.name for view in (*review.after, *review.before)))


def _candidate_first(names: Iterable[str], review: Review) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(names), key=lambda name: name != review.candidate))


def _sides(review: Review) -> Iterator[tuple[str, ModelView | None, ModelView | None]]:
    """Every model with its view before and after."""
    before, after = ({view.name: view for view in views} for views in (review.before, review.after))
    for name in _names(review):
        yield name, before.get(name), after.get(name)


# ---- tables


def _tables(review: Review) -> dict[str, Any]:
    return {
        "params_table": _params(review.params),
        "metrics_table": _metrics(review),
        "models_table": _models(review),
        "paired_table": _paired(review),
        "flips_table": _flips(review),
        "quality_tables": [table for table in _quality(review) if table.rows],
    }


def _param(found: Any) -> Cell:
    text = "none" if found is None else str(found)
    return Cell(text if len(text) <= PARAM_SHOWN else text[: PARAM_SHOWN - 1] + "…", style="code")


def _params(changes: Sequence[ParamChange]) -> Table:
    rows = tuple((Cell(change.key, style="code"), _param(change.before), _param(change.after)) for change in changes)
    return Table("params", "Parameters with another value.", ("Parameter", "Before", "After"), rows)


def _metrics(review: Review) -> Table:
    names = _candidate_first((change.model for change in review.metrics), review)
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
        _cell(change.before, change.unit),
        _cell(change.after, change.unit),
        _cell(change.difference, change.unit, signed=True),
        _interval(change),
        _marked(change.verdict, VERDICTS),
    )


def _interval(change: MetricChange) -> Cell:
    """The ends of the difference; those of times are a rule of thumb, without a confidence, and are not shown."""
    low, high = (_shown(end, change.unit, signed=True) for end in (change.low, change.high))
    if change.confidence is None or NOT_KNOWN in (low, high):
        return Cell(NOT_KNOWN, style="number")
    return Cell(f"{low.partition(' ')[0]} to {high}", change.low, "number")


def _models(review: Review) -> Table:
    sides = tuple(_sides(review))
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
    return _cell(new, unit, note="" if old is None or old == new else f"was {_shown(old, unit)}")


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


def _flips(review: Review) -> Table:
    """The candidate's are kept before those of other models; shown are first those that were right."""

    def rank(flip: Flip) -> tuple[int, bool]:
        return KINDS.index(flip.kind), flip.model != review.candidate

    kept = sorted(review.flips, key=lambda flip: (flip.model != review.candidate, KINDS.index(flip.kind)))
    flips = sorted(kept[:FLIPS_SHOWN], key=rank)
    models = _candidate_first((flip.model for flip in flips), review)
    return Table(
        "flips",
        "Test rows that a model answers differently than before.",
        ("Kind", "Text", "Label", "Before", "After", "Model"),
        tuple(_flip(flip) for flip in flips),
        tuple({"kind": flip.kind, "model": flip.model} for flip in flips),
        {"kind": tuple(kind for kind in KINDS if any(flip.kind == kind for flip in flips)), "model": models},
        {"model": review.candidate} if review.candidate in models else {},
    )


def _flip(flip: Flip) -> tuple[Cell, ...]:
    text = flip.text if len(flip.text) <= TEXT_SHOWN else flip.text[: TEXT_SHOWN - 1] + "…"
    return (
        _marked(flip.kind, KIND_MARKS),
        Cell(text or f"row {flip.row_id}", style="text"),
        Cell(flip.label, style="label"),
        Cell(flip.before, style="label"),
        Cell(flip.after, style="label"),
        Cell(flip.model),
    )


def _quality(review: Review) -> Iterator[Table]:
    """Slices, robustness and fairness of the candidate, each a row: rows, then numbers before and after."""
    views = [_view(side, review) for side in (review.before, review.after)]
    sides = [view.quality if view else {} for view in views]
    accuracy = (("accuracy", "Accuracy", "share"),)
    slices = [_mapping(side, "slices") for side in sides]
    for i, column in enumerate(dict.fromkeys([*slices[1], *slices[0]])):
        parts = [_mapping(side, column) for side in slices]
        yield _sided(f"slices-{i}", f"Accuracy by {column}.", str(column).capitalize(), parts, accuracy)
    changed = [_mapping(side, "robustness") for side in sides]
    rates = (("flip_rate", "Flipped", "share"), ("accuracy", "Accuracy", "share"))
    yield _sided("robustness", "Texts changed in ways that should not matter.", "Change", changed, rates)
    fairness = [_mapping(side, "fairness") for side in sides]
    swaps = [{IDENTITY: part} if (part := _mapping(side, "identity_swaps")) else {} for side in fairness]
    rates = (("flip_rate", "Flipped", "share"), ("mean_change", "Probability moved", "share"))
    yield _sided("swaps", "Texts with their identity words swapped.", "Words", swaps, rates)
    groups = [_mapping(side, "groups") for side in fairness]
    of_groups = [_mapping(side, "rates") or side for side in groups]
    yield _sided("groups", "Accuracy by group.", "Group", of_groups, accuracy)
    gaps = [{key: {"gap": side[key]} for key in side if str(key).endswith("_gap")} for side in groups]
    yield _sided("gaps", "The largest gaps between groups.", "Of", gaps, (("gap", "Gap", "share"),))


def _sided(
    key: str, caption: str, heading: str, sides: Sequence[Mapping[str, Any]], shown: Sequence[tuple[str, str, str]]
) -> Table:
    """A row a name; of each number before, after, and the difference. Names without any number are left out."""
    before, after = sides
    counted = any(number(part, "rows") is not None for side in sides for part in side.values())
    rows = []
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if all(number(side, field) is None for side in (old, new) for field, _, _ in shown):
            continue
        count = number(new, "rows") if number(new, "rows") is not None else number(old, "rows")
        cells = [Cell(NOT_KNOWN if count is None else f"{count:,.0f}", count, "number")] if counted else []
        for field, _, unit in shown:
            was, now = number(old, field), number(new, field)
            change = None if was is None or now is None else now - was
            note = _ends(new) if field == "accuracy" else ""
            cells += [_cell(was, unit), _cell(now, unit, note=note), _cell(change, unit, signed=True)]
        rows.append((Cell(str(name).replace("_", " ")), *cells))
    titles = [f"{title} {when}" for _, title, _ in shown for when in ("before", "after", "difference")]
    return Table(key, caption, (heading, *(["Rows"] if counted else []), *titles), tuple(rows))


def _ends(values: Any) -> str:
    low, high = number(values, "low"), number(values, "high")
    return "" if low is None or high is None else f"{_shown(low, 'share')} to {_shown(high, 'share')}"


def _panels(review: Review) -> list[dict[str, Any]]:
    """A model each, the candidate first: which of its matrices there are, and its commonest confusions."""
    sides = {name: (before, after) for name, before, after in _sides(review)}
    return [
        {"model": name, "key": i, "table": _confusions(f"confusions-{i}", name, *sides[name])}
        for name in _candidate_first(sides, review)
        for i in [_names(review).index(name)]
        if any(view and view.confusion for view in sides[name])
    ]


def _confusions(key: str, name: str, before: ModelView | None, after: ModelView | None) -> Table:
    counts = [
        Counter({(actual, guess): rows for actual, guess, rows in view.confusion if actual != guess}) if view else {}
        for view in (before, after)
    ]
    pairs = sorted(counts[0] | counts[1], key=lambda pair: (-counts[1].get(pair, 0), -counts[0].get(pair, 0), pair))
    rows = tuple(
        (
            Cell(pair[0], style="label"),
            Cell(pair[1], style="label"),
            *(Cell(f"{side.get(pair, 0):,}", side.get(pair, 0), "number") for side in counts),
        )
        for pair in pairs[:CONFUSIONS_SHOWN]
    )
    caption = f"The commonest confusions of {name} after the change: test rows of each."
    return Table(key, caption, ("Label", "Taken for", "Before", "After"), rows)


# ---- charts: Vega-Lite, one view each, as wide as its container; colours are the page's, by CSS variable

COLOURS = [f"var(--series-{i})" for i in range(1, 7)]
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "view": {"stroke": "var(--line)"},
    "axis": {
        "labelColor": "var(--muted)", "titleColor": "var(--ink)", "gridColor": "var(--grid)",
        "domainColor": "var(--line)", "tickColor": "var(--line)", "labelFontSize": 11, "titleFontSize": 12,
        "titleFontWeight": 500, "titlePadding": 8,
    },
    "legend": {
        "labelColor": "var(--ink)", "titleColor": "var(--ink)", "orient": "bottom", "labelFontSize": 12,
        "titleFontSize": 12, "titleFontWeight": 500, "symbolStrokeWidth": 2, "columns": 2,
        "symbolStrokeColor": "var(--muted)", "layout": {"bottom": {"anchor": "start"}},
    },
    "line": {"strokeWidth": 2},
    "text": {"color": "var(--ink)", "fontSize": 12},
    "range": {"category": COLOURS},
}  # fmt: skip
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
FEW_POINTS = 20


def _charts(review: Review) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name -> specification; only of what there are data for."""
    yield from _scatter(review)
    for name, before, after in _sides(review):
        labels = sorted({label for view in (before, after) if view for row in view.confusion for label in row[:2]})
        for word, view in (("before", before), ("after", after)):
            if view and view.confusion:
                yield f"confusion-{_names(review).index(name)}-{word}", _heatmap(view, labels, word)
    yield from _reliability(review)
    for i, (name, points) in enumerate(review.curves.items()):
        rows = [{"model": model, "step": step, "value": value} for model, step, value in points if math.isfinite(value)]
        if rows:
            models = [*_names(review), *(model for model, _, _ in points)]
            yield f"curve-{i}", _curve(name, rows, tuple(dict.fromkeys(models)))


def _spec(chart: Any, description: str, height: int, **datasets: list[dict[str, Any]]) -> dict[str, Any]:
    """The specification; the data go in last, as Altair would check every row of them."""
    spec = chart.properties(width="container", height=height, description=description).to_dict()
    spec.pop("config", None)
    return {**spec, "autosize": {"type": "fit-x", "contains": "padding"}, "datasets": datasets}


def _colour(names: Sequence[str], *, legend: bool = True) -> Any:
    import altair as alt

    return alt.Color("model:N", scale=alt.Scale(domain=list(names)), legend=alt.Legend(title=None) if legend else None)


def _lines(x: Any, y: Any, names: Sequence[str], tips: list[Any]) -> list[Any]:
    """Of each model a line, dashed where it is of before, with points of a shape of their own; data: `bins`."""
    import altair as alt

    base = alt.Chart(alt.NamedData(name="bins"))
    dashes = alt.Scale(domain=["after", "before"], range=[[1, 0], [5, 4]])
    shapes = alt.Scale(domain=list(names), range=[SHAPES[i % len(SHAPES)] for i in range(len(names))])
    shape = alt.Shape("model:N", scale=shapes, legend=alt.Legend(title=None))
    dash = alt.StrokeDash("when:N", scale=dashes, legend=None)
    return [
        base.mark_line().encode(x, y, _colour(names), dash),
        base.mark_point(filled=True, size=50, opacity=1).encode(x, y, _colour(names), shape, tooltip=tips),
    ]


def _scatter(review: Review) -> Iterator[tuple[str, dict[str, Any]]]:
    """Latency against quality: before hollow, after filled, a line between."""
    points = [
        {"model": name, "when": word, "latency": latency, "score": score, "size": number(view.profile, "size_mb")}
        for name, *views in _sides(review)
        for word, view in zip(("before", "after"), views, strict=True)
        if view
        and (latency := number(view.profile, "latency_p50_ms") or 0) > 0
        and (score := number(view.quality, "macro_f1")) is not None
    ]
    if not points:
        return
    import altair as alt

    x = alt.X("latency:Q", title="Latency p50, ms (log scale)", scale=alt.Scale(type="log", nice=False, padding=48))
    y = alt.Y("score:Q", title="Macro-F1", axis=alt.Axis(format=".0%"), scale=alt.Scale(zero=False, padding=40))
    size = alt.Size(
        "size:Q",
        title="Size, MB",
        scale=alt.Scale(range=[60, 900]),
        legend=alt.Legend(tickCount=4, columns=5),
    )
    tips = [
        alt.Tooltip("model:N"), alt.Tooltip("when:N"), alt.Tooltip("score:Q", format=".1%", title="macro-F1"),
        alt.Tooltip("latency:Q", format=".3~r", title="latency p50, ms"),
        alt.Tooltip("size:Q", format=".3~r", title="MB"),
    ]  # fmt: skip
    colour = _colour(_names(review), legend=False)
    sides = {word: [point for point in points if point["when"] == word] for word in ("before", "after")}
    looks: dict[str, dict[str, Any]] = {
        "before": {"filled": False, "strokeWidth": 2, "opacity": 1},
        "after": {"filled": True, "opacity": 0.9},
    }
    base, named = (alt.Chart(alt.NamedData(name=name)) for name in ("all", "named"))
    chart = alt.layer(
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(x, y, colour, alt.Detail("model:N")),
        *(
            alt.Chart(alt.NamedData(name=word)).mark_point(**looks[word]).encode(x, y, colour, size, tooltip=tips)
            for word, rows in sides.items()
            if rows
        ),
        named.mark_text(dy=-25, fontWeight=500).encode(x, y, alt.Text("model:N")),
    )
    last = list({point["model"]: point for point in points}.values())  # after comes last, and is kept
    yield "scatter", _spec(chart, "Latency against macro-F1 of every model", 340, all=points, named=last, **sides)


def _heatmap(view: ModelView, labels: Sequence[str], word: str) -> dict[str, Any]:
    """Actual by predicted, each row of cells summing to 1; with numbers in the cells where they fit."""
    import altair as alt

    totals: Counter[str] = Counter()
    for actual, _, rows in view.confusion:
        totals[actual] += rows
    cells = [
        {"actual": actual, "predicted": guess, "rows": rows, "share": round(rows / totals[actual], 4)}
        for actual, guess, rows in view.confusion
        if rows
    ]
    few = len(labels) <= 10
    scale = alt.Scale(domain=list(labels))
    look: dict[str, Any] = {
        "labelOverlap": "greedy",
        "labelLimit": 110,
        "labelFontSize": 12 if few else 9,
        "ticks": False,
    }
    turned = alt.Axis(**look, orient="bottom", labelAngle=0 if len(labels) <= 4 else -90)
    x = alt.X("predicted:N", title="Predicted", scale=scale, axis=turned)
    y = alt.Y("actual:N", title="Label", scale=scale, axis=alt.Axis(**look))
    opacity = alt.Opacity(
        "share:Q",
        title="Share of the label’s rows",
        scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.05, 1]),
        legend=alt.Legend(
            values=[0.01, 0.1, 0.3, 0.6, 1], format=".0%", symbolType="square", symbolSize=140, columns=3,
            symbolFillColor="var(--accent)", symbolStrokeColor="transparent",
        ),
    )  # fmt: skip
    tips = [alt.Tooltip("actual:N", title="label"), alt.Tooltip("predicted:N"), alt.Tooltip("rows:Q", format=",")]
    tips.append(alt.Tooltip("share:Q", title="of the label", format=".1%"))
    base = alt.Chart(alt.NamedData(name="cells"))
    chart: Any = base.mark_rect(fill="var(--accent)", aria=False).encode(x, y, opacity, tooltip=tips)
    if few:
        ink = alt.condition(alt.datum.share > 0.6, alt.value("var(--on-accent)"), alt.value("var(--ink)"))
        chart = chart + base.mark_text(aria=False).encode(x, y, alt.Text("share:Q", format=".0%"), color=ink)
    height = max(180, 44 * len(labels)) if few else max(440, min(8 * len(labels), 900))
    return _spec(chart, f"Confusion matrix of {view.name}, {word} the change", height, cells=cells)


def _reliability(review: Review) -> Iterator[tuple[str, dict[str, Any]]]:
    """Confidence against accuracy, all models after and the candidate before; and the rows of each bin."""
    candidate = _view(review.before, review)
    series = [("after", view) for view in review.after] + ([("before", candidate)] if candidate else [])
    bins = [{"model": view.name, "when": word, **bin_} for word, view in series for bin_ in view.reliability]
    if not bins:
        return
    import altair as alt

    names, percent = _names(review), alt.Axis(format=".0%", tickCount=5)
    tips = [alt.Tooltip("model:N"), alt.Tooltip("when:N"), alt.Tooltip("rows:Q", format=",")]
    tips += [alt.Tooltip("confidence:Q", format=".1%"), alt.Tooltip("accuracy:Q", format=".1%")]
    whole = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("confidence:Q", title="Mean confidence of the bin", scale=whole, axis=percent)
    y = alt.Y("accuracy:Q", title="Accuracy in the bin", scale=whole, axis=percent)
    straight: dict[str, Any] = {"strokeWidth": 1.5, "color": "var(--muted)", "strokeDash": [2, 3]}
    diagonal = alt.Chart(alt.NamedData(name="diagonal")).mark_line(**straight).encode(x, y)
    ends: list[dict[str, Any]] = [{"confidence": end, "accuracy": end} for end in (0, 1)]
    chart = alt.layer(diagonal, *_lines(x, y, names, tips))
    yield "reliability", _spec(chart, "Confidence against accuracy", 360, bins=bins, diagonal=ends)
    counts = alt.layer(*_lines(x, alt.Y("rows:Q", title="Test rows in the bin"), names, tips))
    yield "bins", _spec(counts, "Test rows in each bin of confidence", 360, bins=bins)


def _curve(name: str, rows: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """A line a model; of few points, these are marked, as one alone makes no line."""
    import altair as alt

    few = max(Counter(row["model"] for row in rows).values()) <= FEW_POINTS
    present = [model for model in names if any(row["model"] == model for row in rows)]
    legend = alt.Legend(title=None, symbolType="stroke", symbolSize=260)
    dashes = alt.Scale(domain=present, range=[DASHES[i % len(DASHES)] for i in range(len(present))])
    colours = alt.Scale(domain=present, range=[COLOURS[names.index(model) % len(COLOURS)] for model in present])
    colour = alt.Color("model:N", scale=colours, legend=legend)
    steps = alt.X(
        "step:Q", title="Step", axis=alt.Axis(format="~s", tickCount=5), scale=alt.Scale(zero=False, nice=False)
    )
    values = alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=5), scale=alt.Scale(zero=False))
    tips = [alt.Tooltip("model:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4~r")]
    base = alt.Chart(alt.NamedData(name="points"))
    chart: Any = base.mark_line().encode(steps, values, colour, alt.StrokeDash("model:N", scale=dashes, legend=legend))
    if few:
        chart = chart + base.mark_point(filled=True, size=40, opacity=1).encode(steps, values, colour, tooltip=tips)
    return _spec(chart, f"Learning curve: {name}", 180, points=rows)
