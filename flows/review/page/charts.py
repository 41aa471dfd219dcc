"""The charts of the page: Vega-Lite, one view each, as wide as its container; colours are the page's, by CSS variable.

Pure: specifications as JSON would hold them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from flows.review.evidence import ModelView, Review, number
from flows.review.markdown import capital
from flows.review.page.tables import names_of, sides_of, view_of

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


def charts_of(review: Review) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name -> chart specification, for charts that have data."""
    yield from _scatter(review)
    for name, before, after in sides_of(review):
        if chart := _confusion(before, after, review.kind, comparable=name not in review.apart):
            yield matrix_key(review, name), chart
    yield from _reliability(review)
    for i, name in enumerate(curve_names(review)):
        sides = (("after", review.curves.get(name, ())), ("before", review.curves_before.get(name, ())))
        rows = [
            {"model": model, "when": word, "step": step, "value": value}
            for word, points in sides
            for model, step, value in points
            if math.isfinite(value)
        ]
        if rows:
            yield (
                f"curve-{i}",
                _curve(name, rows, tuple(dict.fromkeys([*names_of(review), *(str(row["model"]) for row in rows)]))),
            )


def beyond_comparison(review: Review) -> frozenset[str]:
    """The models whose latency or judged measure before and after is not of one machine, one test, or one run."""
    drawn = ("latency_p50_ms", *(one.name for one in review.measures[:1]))
    apart = ("other machine", "not comparable", "not run")
    return frozenset(c.model for c in review.metrics if c.metric in drawn and c.verdict in apart)


def matrix_key(review: Review, model: str) -> str:
    """The name of a model's matrix among the charts; of a model that the review does not have that of none."""
    names = names_of(review)
    return f"confusion-{names.index(model) if model in names else 'none'}"


def curve_names(review: Review) -> tuple[str, ...]:
    """The curves of either side, those of this one first."""
    return tuple(dict.fromkeys([*review.curves, *review.curves_before]))


def spec(chart: Any, description: str, height: int, **datasets: list[dict[str, Any]]) -> dict[str, Any]:
    """The specification; the data go in last, as Altair would check every row of them."""
    spec = chart.properties(width="container", height=height, description=description).to_dict()
    spec.pop("config", None)
    return {**spec, "autosize": {"type": "fit-x", "contains": "padding"}, "datasets": datasets}


def _colour(names: Sequence[str], *, legend: bool = True) -> Any:
    import altair as alt

    return alt.Color("model:N", scale=alt.Scale(domain=list(names)), legend=alt.Legend(title=None) if legend else None)


def _lines(x: Any, y: Any, names: Sequence[str], tips: list[Any]) -> list[Any]:
    """A line for each model, dashed where it belongs to the base, with points of a shape of their own; data: `bins`."""
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
    """Latency against the judged measure: before hollow, after filled, a line between."""
    if not review.measures:
        return
    measure, percent = review.measures[0], review.measures[0].unit == "share"
    points = [
        {"model": name, "when": word, "latency": latency, "score": score, "size": number(view.profile, "size_mb")}
        for name, *views in sides_of(review)
        for word, view in zip(("before", "after"), views, strict=True)
        if view
        and not (word == "before" and name in beyond_comparison(review))
        and (latency := number(view.profile, "latency_p50_ms") or 0) > 0
        and (score := number(view.quality, measure.name)) is not None
    ]
    if not points:
        return
    import altair as alt

    x = alt.X("latency:Q", title="Latency p50, ms (log scale)", scale=alt.Scale(type="log", nice=False, padding=48))
    y = alt.Y(
        "score:Q",
        title=capital(measure.title),
        axis=alt.Axis(format=".0%" if percent else ""),
        scale=alt.Scale(zero=False, padding=40),
    )
    size = alt.Size(
        "size:Q",
        title="Size, MB",
        scale=alt.Scale(range=[60, 900]),
        legend=alt.Legend(tickCount=4, columns=5),
    )
    tips = [
        alt.Tooltip("model:N"), alt.Tooltip("when:N"),
        alt.Tooltip("score:Q", format=".1%" if percent else ".3~r", title=measure.title),
        alt.Tooltip("latency:Q", format=".3~r", title="latency p50, ms"),
        alt.Tooltip("size:Q", format=".3~r", title="MB"),
    ]  # fmt: skip
    colour = _colour(names_of(review), legend=False)
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
    yield (
        "scatter",
        spec(chart, f"Latency against {measure.title} of every model", 340, all=points, named=last, **sides),
    )


def _confusion(
    before: ModelView | None, after: ModelView | None, kind: str, *, comparable: bool
) -> dict[str, Any] | None:
    """The changes of the confusions where both sides have comparable ones; else the confusions of the newer side."""
    known = [view for view in (before, after) if view and view.confusion]
    if not known:
        return None
    shown, name = known if comparable else known[-1:], known[-1].name
    labels = sorted({label for view in shown for row in view.confusion for label in row[:2]})
    if len(shown) == 2:
        return _heatmap(_changed_cells(*shown), labels, kind, f"How the confusions of {name} changed", change=True)
    word = "after" if shown[0] is after else "before"
    return _heatmap(_cells(shown[0]), labels, kind, f"Confusion matrix of {name}, {word} the change", change=False)


def _cells(view: ModelView) -> list[dict[str, Any]]:
    """The pairs that occur, each with its share of the class's rows; errors are worse."""
    totals = _totals(view)
    return [
        {"actual": actual, "predicted": guess, "now": rows, "share": round(rows / totals[actual], 4)}
        for actual, guess, rows in view.confusion
        if rows
    ]


def _changed_cells(before: ModelView, after: ModelView) -> list[dict[str, Any]]:
    """The pairs whose share of the class's rows differs, each with the difference and whether it is better."""
    counts, totals = zip(
        *(({row[:2]: row[2] for row in v.confusion}, _totals(v)) for v in (before, after)), strict=True
    )
    cells = []
    for actual, guess in sorted(counts[0].keys() | counts[1].keys()):
        was, now = (side.get((actual, guess), 0) for side in counts)
        share = now / (totals[1][actual] or 1) - was / (totals[0][actual] or 1)
        if share:
            good = (share > 0) == (actual == guess)
            cells.append({
                "actual": actual, "predicted": guess, "was": was, "now": now, "share": round(share, 4),
                "size": round(abs(share), 4), "change": "better" if good else "worse",
            })  # fmt: skip
    return cells


def _totals(view: ModelView) -> Counter[str]:
    totals: Counter[str] = Counter()
    for actual, _, rows in view.confusion:
        totals[actual] += rows
    return totals


def _heatmap(
    cells: list[dict[str, Any]], labels: Sequence[str], kind: str, description: str, *, change: bool
) -> dict[str, Any]:
    """A heatmap of actual by predicted classes, coloured by `share`, with numbers in the cells where they fit."""
    import altair as alt

    few = len(labels) <= 10
    base = alt.Chart(alt.NamedData(name="cells"))
    x, y = _class_axes(labels, kind, few)
    size = _strength(kind, change)
    counts = [alt.Tooltip("was:Q", title="rows before")] if change else []
    tips = [
        alt.Tooltip("actual:N", title=kind), alt.Tooltip("predicted:N"), *counts, alt.Tooltip("now:Q", title="rows"),
        alt.Tooltip("share:Q", title=f"of the {kind}", format="+.1%" if change else ".1%"),
    ]  # fmt: skip
    better = alt.Scale(domain=["better", "worse"], range=["var(--accent)", "var(--bad)"])
    colour = [alt.Fill("change:N", title=None, scale=better)] if change else []
    look: dict[str, Any] = {} if change else {"fill": "var(--accent)"}
    chart: Any = base.mark_rect(aria=False, **look).encode(x, y, size, *colour, tooltip=tips)
    if few:
        strong = alt.datum.size > 0.3 if change else alt.datum.share > 0.6
        ink = alt.condition(strong, alt.value("var(--on-accent)"), alt.value("var(--ink)"))
        text = alt.Text("share:Q", format="+.0%" if change else ".0%")
        chart = chart + base.mark_text(aria=False).encode(x, y, text, color=ink)
    height = max(180, 44 * len(labels)) if few else max(440, min(14 * len(labels), 900))
    return spec(chart, description, height, cells=cells)


def _class_axes(labels: Sequence[str], kind: str, few: bool) -> tuple[Any, Any]:
    import altair as alt

    look: dict[str, Any] = {
        "labelOverlap": "greedy", "labelLimit": 110, "labelFontSize": 12 if few else 9, "ticks": False,
    }  # fmt: skip
    scale = alt.Scale(domain=list(labels))
    turned = alt.Axis(**look, orient="bottom", labelAngle=0 if len(labels) <= 4 else -90)
    x = alt.X("predicted:N", title="Predicted", scale=scale, axis=turned)
    return x, alt.Y("actual:N", title=capital(kind), scale=scale, axis=alt.Axis(**look))


def _strength(kind: str, change: bool) -> Any:
    """The strength of a cell's colour: its share of the class's rows, or the change of that."""
    import altair as alt

    legend = alt.Legend(
        values=[0.02, 0.1, 0.3] if change else [0.01, 0.1, 0.3, 0.6, 1], format=".0%", symbolType="square",
        symbolSize=140, columns=3, symbolFillColor="var(--muted)" if change else "var(--accent)",
        symbolStrokeColor="transparent",
    )  # fmt: skip
    field, title = ("size", "Change of the share") if change else ("share", f"Share of the {kind}’s rows")
    scale = alt.Scale(type="sqrt", domain=[0, 0.5 if change else 1], range=[0.05, 1], clamp=True)
    return alt.Opacity(f"{field}:Q", title=title, scale=scale, legend=legend)


def _reliability(review: Review) -> Iterator[tuple[str, dict[str, Any]]]:
    """Confidence against the mean score, all models after and the candidate before; and the rows of each bin."""
    candidate = view_of(review.before, review)
    series = [("after", view) for view in review.after] + ([("before", candidate)] if candidate else [])
    bins = [{"model": view.name, "when": word, **bin_} for word, view in series for bin_ in view.reliability]
    if not bins:
        return
    import altair as alt

    names, percent = names_of(review), alt.Axis(format=".0%", tickCount=5)
    tips = [alt.Tooltip("model:N"), alt.Tooltip("when:N"), alt.Tooltip("rows:Q", format=",")]
    tips += [alt.Tooltip("confidence:Q", format=".1%"), alt.Tooltip("score:Q", format=".1%", title=review.score_title)]
    whole = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("confidence:Q", title="Mean confidence of the bin", scale=whole, axis=percent)
    y = alt.Y("score:Q", title=f"{capital(review.score_title)} in the bin", scale=whole, axis=percent)
    straight: dict[str, Any] = {"strokeWidth": 1.5, "color": "var(--muted)", "strokeDash": [2, 3]}
    diagonal = alt.Chart(alt.NamedData(name="diagonal")).mark_line(**straight).encode(x, y)
    ends: list[dict[str, Any]] = [{"confidence": end, "score": end} for end in (0, 1)]
    chart = alt.layer(diagonal, *_lines(x, y, names, tips))
    yield "reliability", spec(chart, f"Confidence against {review.score_title}", 360, bins=bins, diagonal=ends)
    counts = alt.layer(*_lines(x, alt.Y("rows:Q", title="Test rows in the bin"), names, tips))
    yield "bins", spec(counts, "Test rows in each bin of confidence", 360, bins=bins)


def _curve(name: str, rows: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """A line for each model; where points are few they are marked, as a single one makes no line."""
    import altair as alt

    few = max(Counter((row["model"], row["when"]) for row in rows).values()) <= FEW_POINTS
    present = [model for model in names if any(row["model"] == model for row in rows)]
    legend = alt.Legend(title=None, symbolType="stroke", symbolSize=260)
    if any(row["when"] == "before" for row in rows):  # dashes tell the sides apart, colours the models
        sides = alt.Scale(domain=["after", "before"], range=[[1, 0], [5, 4]])
        dash = alt.StrokeDash("when:N", scale=sides, legend=alt.Legend(title=None, symbolType="stroke"))
    else:
        dashes = alt.Scale(domain=present, range=[DASHES[i % len(DASHES)] for i in range(len(present))])
        dash = alt.StrokeDash("model:N", scale=dashes, legend=legend)
    colours = alt.Scale(domain=present, range=[COLOURS[names.index(model) % len(COLOURS)] for model in present])
    colour = alt.Color("model:N", scale=colours, legend=legend)
    steps = alt.X(
        "step:Q", title="Step", axis=alt.Axis(format="~s", tickCount=5), scale=alt.Scale(zero=False, nice=False)
    )
    values = alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=5), scale=alt.Scale(zero=False))
    tips = [
        alt.Tooltip("model:N"), alt.Tooltip("when:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4~r"),
    ]  # fmt: skip
    base = alt.Chart(alt.NamedData(name="points"))
    chart: Any = base.mark_line().encode(steps, values, colour, dash)
    if few:
        chart = chart + base.mark_point(filled=True, size=40, opacity=1).encode(steps, values, colour, tooltip=tips)
    return spec(chart, f"Learning curve: {name}", 180, points=rows)
