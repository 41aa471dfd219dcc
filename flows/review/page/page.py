"""The review of a change as one HTML page that opens without a network: tables, charts, examples. Pure.

It contains untrusted texts: Jinja2 escapes all of them, the charts' data are JSON without a "<", and the page's own
policy runs the two scripts whose hashes it names and loads nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from flows.review.evidence import MetricChange, Review, Revision, mapping, number
from flows.review.markdown import arrows, capital, plural
from flows.review.page.cells import counted, shown
from flows.review.page.charts import CONFIG, charts_of
from flows.review.page.quality import panels, quality_tables
from flows.review.page.tables import FLIPS_SHOWN, TEXT_SHOWN, tables, view_of
from flows.review.pull_request import RUN_IT, not_run, sides

TEMPLATES = Path(__file__).parent / "templates"
STAGES_OPEN = 6  # more of them are folded
HEADLINES = {
    "pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "none": "No verdict", "not-run": "Not run",
}  # fmt: skip
OUTCOMES = {"pass": "✓", "fail": "✗", "inconclusive": "?", "cannot tell": "–", "not judged": "–"}


def render(review: Review) -> str:
    """The whole page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["arrows"] = arrows
    charts = dict(charts_of(review))
    ours = (TEMPLATES / "review.js").read_text(encoding="utf-8")
    scripts = [_script(source) for source in ([_vega(), ours] if charts else [ours])]
    page = environment.get_template("review.html.j2").render(
        **_texts(review),
        **tables(review),
        review=review,
        quality_tables=[table for table in quality_tables(review) if table.rows],
        panels=panels(review),
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
    """JavaScript that cannot end its own script element."""
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
    """The same value with None for numbers that JSON does not have: infinities and NaN."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _finite(entry) for key, entry in content.items()}
    return [_finite(entry) for entry in content] if isinstance(content, list | tuple) else content


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
        "by_group": not review.measures or any(one.strata for one in review.measures),
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
    found = [
        f"{change.name} {_moved(change)}"
        for metric in (*(one.name for one in review.measures[:1]), "latency_p50_ms", "size_mb")
        for change in review.metrics
        if change.model == review.candidate and change.metric == metric and change.after is not None
    ]
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
