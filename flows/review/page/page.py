"""The review of a change as one HTML page that opens without a network: tables, charts, examples. Pure.

It contains untrusted texts: Jinja2 escapes all of them, the charts' data are JSON without a "<", and the page's own
policy runs the two scripts whose hashes it names and loads nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from flows.review.evidence import MetricChange, ParamChange, Review, Revision, mapping, number
from flows.review.history import ALONE, meanings
from flows.review.markdown import capital, plural
from flows.review.page import document
from flows.review.page.cells import counted, shown
from flows.review.page.charts import CONFIG, beyond_comparison, charts_of, curve_names
from flows.review.page.over_time import history_charts, history_table
from flows.review.page.quality import panels, quality_tables
from flows.review.page.tables import FLIPS_SHOWN, TEXT_SHOWN, names_of, tables, view_of
from flows.review.pull_request import RUN_IT, not_run, sides

STAGES_OPEN = 6  # more of them are folded
CHANGED_SHOWN = 6  # parameters in the heading
VALUE_SHOWN = 60  # characters of a parameter's value there
HEADLINES = {
    "pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "none": "No verdict", "not-run": "Not run",
}  # fmt: skip
OUTCOMES = {"pass": "✓", "fail": "✗", "inconclusive": "?", "cannot tell": "–", "not judged": "–"}


def render(review: Review) -> str:
    """The whole page as HTML."""
    over_time = list(history_charts(review))
    charts = {**dict(charts_of(review)), **{key: chart for key, _, chart in over_time}}
    return document.rendered(
        "review.html.j2",
        [_vega()] if charts else [],
        {"charts": charts, "config": CONFIG},
        **_texts(review),
        **tables(review),
        review=review,
        quality_tables=[table for table in quality_tables(review) if table.rows],
        panels=panels(review),
        curves=[(f"curve-{i}", name) for i, name in enumerate(curve_names(review)) if f"curve-{i}" in charts],
        charts=charts,
        history=[(key, title) for key, title, _ in over_time],
        history_table=history_table(review),
        history_told=[*meanings(review.history), ALONE.replace("`", "")],
    )


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script (2 seconds, 900 kB)."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _revision(revision: Revision) -> str:
    """The revision's name, and its hash where that adds something."""
    known = revision.commit and not revision.name.startswith(revision.commit)
    return f"{revision.name} ({revision.commit})" if known else revision.name


def _texts(review: Review) -> dict[str, Any]:
    outcome = "not-run" if review.not_run else review.decision.outcome if review.decision else "none"
    return {
        "title": f"{review.head.name} against {review.base.name}",
        "outcome": outcome,
        "verdict": HEADLINES[outcome],
        "outcome_marks": {**OUTCOMES, "none": "–", "not-run": "✗"},
        "summary": _summary(review),
        "unrun": f"{not_run(review)} {RUN_IT.replace('`', '')}" if review.not_run else "",
        "no_predictions": _no_predictions(review),
        "sides": (("Base", review.base), ("Head", review.head)),
        "versus": f"{_revision(review.head)} against {_revision(review.base)}",
        "stages_open": len(review.stages) <= STAGES_OPEN,
        "flips_total": len(review.flips),
        "flips_shown": min(len(review.flips), FLIPS_SHOWN),
        "text_shown": TEXT_SHOWN,
        "worst": _worst(review),
        "beyond": _beyond(review),
        "no_parts": _no_parts(review),
        "curves_told": _curves_told(review),
        "changed": [_changed(change) for change in review.params[:CHANGED_SHOWN]],
        "changed_more": max(len(review.params) - CHANGED_SHOWN, 0),
        "has_predictions": bool(review.paired or any(view.reliability for view in (*review.before, *review.after))),
        "measure": capital(review.measures[0].title) if review.measures else "measure",
        "score": review.score_title,
        "kinds": plural(review.kind),
        "dashed": bool((view := view_of(review.before, review)) and view.reliability),
    }


def _summary(review: Review) -> str:
    """One sentence: the changes of the candidate's figures, and their cause."""
    changed, ran = (counted(*of) for of in ((len(review.params), "parameter"), (len(review.stages), "stage")))
    made = f"{changed} changed and {ran} ran again" if review.params or review.stages else "nothing in it changed"
    own = {c.metric: c for c in review.metrics if c.model == review.candidate and c.after is not None}
    metrics = (*(one.name for one in review.measures[:1]), "latency_p50_ms", "size_mb")
    told = {metric: f"{own[metric].name} {_moved(own[metric])}" for metric in metrics if metric in own}
    if (pair := review.of_candidate) and (judged := pair.judged):
        on_both = f"on the {counted(pair.rows, 'test row')} of both, {judged.name} {_moved(judged)}"
        told[judged.metric] = on_both  # in the place of its own rows' figure
    found = list(told.values())
    subject = review.candidate or "The model to release"
    return f"{subject}: {', '.join(found)}; {made}." if found else f"{subject} has no metrics to compare; {made}."


def _moved(change: MetricChange) -> str:
    why = f": {change.why}" if change.why and change.verdict in ("not comparable", "other machine") else ""
    return f"{sides(change, shown)} ({change.verdict}{why})"


def _no_predictions(review: Review) -> str:
    """Why no predictions are drawn."""
    if review.not_run_models - review.only_costs_not_run:
        return "There are no predictions of this change: it was not run."
    if any(view.quality for view in (*review.before, *review.after)):
        return "There are no predictions at hand; the notes say which, and why."
    return "There are no predictions at either revision."


def _beyond(review: Review) -> str:
    """A sentence on the models of which the chart of all models leaves out what they were before."""
    left_out = ", ".join(name for name in names_of(review) if name in beyond_comparison(review))
    return f" Without what was before, as it cannot be compared: {left_out}." if left_out else ""


def _no_parts(review: Review) -> str:
    """Why nothing is said of labels and slices."""
    if review.candidate in review.apart:
        return f"The test rows or the {plural(review.kind)} are not those of before."
    if review.paired:
        return "The test rows have no classes and no slices."
    return _no_predictions(review)


def _changed(change: ParamChange) -> ParamChange:
    """The parameter with its values as a heading has them."""
    return dataclasses.replace(change, before=_short(change.before), after=_short(change.after))


def _short(found: Any) -> str:
    text = "none" if found is None else str(found)
    return text if len(text) <= VALUE_SHOWN else f"{text[: VALUE_SHOWN - 1]}…"


def _curves_told(review: Review) -> str:
    """What the curves of the two sides are, and what makes them hard to compare."""
    if not review.curves_before:
        return ""
    models = ", ".join(dict.fromkeys(model for points in review.curves_before.values() for model, *_ in points))
    data = "" if review.same_data else " It learned from other data, so that losses are of other rows."
    return f"Solid: this change; dashed: {_revision(review.base)}, where {models} learned otherwise.{data}"


def _worst(review: Review) -> str:
    parts = []
    for word, view in (("before", view_of(review.before, review)), ("after", view_of(review.after, review))):
        worst = mapping(view.quality, "worst_slice") if view else {}
        if (score := number(worst, "score")) is not None:
            rows = int(number(worst, "rows") or 0)
            parts.append(
                f"{word} “{worst.get('name')}” ({review.score_title} {shown(score, 'share')} of {rows:,} rows)"
            )
    return f"The weakest slice: {'; '.join(parts)}." if parts else ""
