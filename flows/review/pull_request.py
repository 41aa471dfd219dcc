"""The review of a change as Markdown, for a pull request: five answers first, the details folded. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flows.review import data_report
from flows.review.evidence import KINDS, Check, Flip, MetricChange, Review, Revision
from flows.review.folded import confusions, kinds, numbers, parts_that_moved, verdict
from flows.review.markdown import arrows, between, code, escape, in_cell, table, value
from flows.review.marks import in_words
from flows.review.written import shortened, start_of

OUTCOMES = {
    "pass": "✅ pass", "fail": "❌ fail", "inconclusive": "❔ inconclusive",
    "cannot tell": "➖ cannot tell", "not judged": "➖ not judged",
}  # fmt: skip
FLIPS_SHOWN = 10
TEXT_SHOWN = 160  # characters of a text
LIST_SHOWN = 3  # parameters named in the heading
RUN_IT = "Run `winnow reproduce` (or `dvc repro`), then commit dvc.lock and metrics."
NOT_RUN_SHOWN = 10  # stages that would run


MARKED = re.compile(r"<!-- winnow: review( of \S.*)? -->")


def mark(folder: str) -> str:
    """The first line of the comment of the project in `folder`, by which it is found again."""
    return f"<!-- winnow: review{f' of {folder}' if folder else ''} -->"


def as_markdown(review: Review) -> str:
    """The whole comment, far below GitHub's limit of 65,536 characters: tables are of models, ten rows are shown."""
    parts = [
        mark(review.folder),
        f"## {_title(review)}",
        _heading(review),
        *([_not_run(review)] if review.not_run else []),
        table(("question", "answer"), _answers(review)),
        *([_list(review.notes)] if review.notes else []),
        _folded("The gate, check by check", _gate(review)),
        _folded(f"Parameters ({len(review.params)})", _params(review)),
        _folded(f"Numbers of every model, against {_revision(review.base)}", numbers(review.metrics)),
        *([_folded(f"Better and worse, by {kinds(review)}", parts_that_moved(review))] if review.parts else []),
        *([_folded("Confusions that changed most", confused)] if (confused := confusions(review)) else []),
        *([_folded("Data", data_report.as_markdown(review.data, review.data_before))] if _data_changed(review) else []),
        _folded(f"Stages with other inputs or outs ({len(review.stages)})", _stages(review)),
        _folded("Test rows with another answer", _flips(review)),
        f"Every number is from a file that git or DVC tracks: {_revision(review.head)} against "
        f"{_revision(review.base)}. Intervals are of the same test rows in pairs, where there are such; times and "
        "memory within 10% count as equal, and times whose rounds overlap tell nothing.",
    ]
    return "\n\n".join(parts) + "\n"


def _title(review: Review) -> str:
    of = f" of {escape(review.folder)}" if review.folder else ""
    if review.not_run:
        return f"Winnow review{of}: ❌ not run"
    outcome = OUTCOMES[review.decision.outcome] if review.decision else "no verdict"
    return f"Winnow review{of}: {outcome}"


def _heading(review: Review) -> str:
    """What is compared with what, and the parameters that differ."""
    named = [f"`{change.key}` {shown(change.before)} → {shown(change.after)}" for change in review.params[:LIST_SHOWN]]
    more = len(review.params) - len(named)
    changed = f"{', '.join(named)}{f' and {more} more' if more else ''}" if named else "no parameter changed"
    return f"**{_revision(review.head)}** against **{_revision(review.base)}**: {changed}"


def stopped(review: Review) -> str | None:
    """Why `winnow review --check` fails, and the remedy; None where it succeeds."""
    if review.not_told:
        return review.not_told
    if review.not_run:
        return "not run: the review says which stages would run. Next: winnow reproduce."
    failed = review.decision is not None and review.decision.outcome == "fail"
    return "the gate says fail; the review says why." if failed else None


def not_run(review: Review) -> str:
    """Changes that were not run, in words; for the page and the comment."""
    count = len(review.not_run)
    stages = f"{count} stage{'' if count == 1 else 's'} would run"
    whole, costs = (
        ", ".join(view.name for view in review.after if view.name in models)
        for models in (review.not_run_models - review.only_costs_not_run, review.only_costs_not_run)
    )
    lacking = [f"no figures of this change for {whole}"] if whole else []
    lacking += [f"no {'costs' if whole else 'costs of this change'} for {costs}"] if costs else []
    figures = f"There are {', and '.join(lacking)}." if lacking else "No model's figures come from them."
    return f"{stages} with this code, these parameters and this data. {figures}"


def _candidate_not_run(review: Review) -> str:
    """A phrase on the parts of the candidate's figures that are outdated; empty where none are."""
    if review.candidate not in review.not_run_models:
        return ""
    only_costs = review.candidate in review.only_costs_not_run
    return f"{review.candidate} was not {'timed' if only_costs else 'run'} with this change"


def _not_run(review: Review) -> str:
    """A warning, red on GitHub, with the stages that were not run and why."""
    lines = [f"> - `{c.stage}`: {escape(arrows('; '.join(c.reasons)))}" for c in review.not_run[:NOT_RUN_SHOWN]]
    more = len(review.not_run) - len(lines)
    lines += [f"> - and {more} more"] if more > 0 else []
    told = f"**Not run.** {not_run(review)} {RUN_IT}"
    return "\n".join(["> [!CAUTION]", f"> {told}", ">", *lines])


def _data_changed(review: Review) -> bool:
    return bool(review.data) and review.data != review.data_before


def _revision(revision: Revision) -> str:
    commit = f" (`{revision.commit}`)" if revision.commit and revision.commit != revision.name else ""
    place = f", {escape(revision.place)}" if revision.place else ""
    return f"{escape(revision.name)}{commit}{place}"


def _answers(review: Review) -> Iterator[tuple[str, str]]:
    yield "What changed?", _what(review)
    yield "Better or worse?", _better(review)
    yield "Is that real?", _real(review)
    yield "What does it cost?", _cost(review)
    yield "May it ship?", _ship(review)


def _what(review: Review) -> str:
    count = len(review.params)
    parts = [f"{count} parameter{'' if count == 1 else 's'}, named above" if count else "no parameter"]
    names = [change.stage for change in review.stages]
    parts.append(
        f"{len(names)} stages: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "no stage"
    )
    return "; ".join(parts)


def _of(review: Review, metric: str) -> MetricChange | None:
    return next((c for c in review.metrics if c.model == review.candidate and c.metric == metric), None)


def _better(review: Review) -> str:
    found = [change for one in review.measures if (change := _of(review, one.name))]
    if any(change.verdict == "not run" for change in found):
        return f"**not run**: {review.candidate} has no figures of this change"
    found = [change for change in found if change.after is not None]
    if not found:
        return f"not known: {review.candidate} has no metrics"
    apart = "not comparable: " if found[0].verdict == "not comparable" else ""
    told = "; ".join(_moved(change) for change in found)
    if (pair := review.of_candidate) and pair.judged:
        told = f"on the {pair.rows:,} test rows of both, {_moved(pair.judged)}; on each side's own, {told}"
    return f"{review.candidate}: {apart}{told}"


def _moved(change: MetricChange) -> str:
    return f"{change.name} {sides(change)}" + ("" if change.difference is None else f" ({difference(change)})")


def sides(change: MetricChange, written: Callable[[float | None, str], str] = value) -> str:
    """The figures of both sides, with an arrow only where one became the other."""
    before, after = written(change.before, change.unit), written(change.after, change.unit)
    if change.verdict in ("not comparable", "other machine"):
        return f"{before} before, {after} now"
    return f"{before} → {after}"


def _real(review: Review) -> str:
    paired = review.of_candidate
    of_both = paired.judged if paired else None
    change = of_both or (_of(review, review.measures[0].name) if review.measures else None)
    if change is not None and change.verdict == "not run":
        return "**not run**"
    if change is not None and change.verdict == "not comparable":
        return f"not comparable: {change.why}"
    if change is None or change.difference is None:
        return "not known: there is nothing to compare with"
    words = {"better": "yes", "worse": "yes", "no clear change": "not shown", "unchanged": "no difference"}
    parts = [words.get(change.verdict, "not known")]
    if (ends := interval(change)) != "-":
        parts.append(f"the difference is between {ends} ({change.confidence:.0%} interval)")
    if paired:
        parts.append(
            f"of {paired.rows:,} test rows {paired.better:,} became better, {paired.worse:,} worse "
            f"(p = {paired.p_value:.2g})"
        )
    return "; ".join(parts)


def _cost(review: Review) -> str:
    shown_changes = [change for name in ("latency_p50_ms", "size_mb") if (change := _of(review, name))]
    if any(change.verdict == "not run" for change in shown_changes):
        return f"**not run**: {review.candidate} was not measured anew"
    known = [change for change in shown_changes if change.after is not None]
    if not known:
        return "not measured"
    return "; ".join(f"{change.name} {sides(change)}{_told(change)}" for change in known)


def _told(change: MetricChange) -> str:
    """The difference, followed by the verdict in brackets."""
    if change.verdict in ("unchanged", "unknown"):
        return ""
    return f" ({_factor(change)}, {verdict(change)})" if change.difference else f" ({verdict(change)})"


def _factor(change: MetricChange) -> str:
    assert change.before is not None
    assert change.after is not None
    return f"{change.after / change.before - 1:+.0%}" if change.before else "from 0"


def _ship(review: Review) -> str:
    if why := _candidate_not_run(review):
        return f"**❌ no**: {why}"
    decision = review.decision
    if decision is None:
        return "not known: nothing was judged"
    reasons = [check.reason for check in decision.checks if check.outcome == decision.outcome]
    if decision.outcome == "pass":
        reasons = [check.reason for check in decision.checks if check.name == "quality"]
        reasons += [f"{check.name.capitalize()}: {check.outcome}." for check in decision.checks if _is_open(check)]
    return f"**{OUTCOMES[decision.outcome]}**. " + escape(arrows(" ".join(reasons)))


def _is_open(check: Check) -> bool:
    """Whether the check stops nothing and shows nothing."""
    return check.outcome in ("cannot tell", "not judged")


def _gate(review: Review) -> str:
    decision = review.decision
    if decision is None:
        why = _candidate_not_run(review)
        return "Nothing was judged" + (f": {why}." if why else "; the notes say why.")
    rows = [(check.name, OUTCOMES[check.outcome], escape(arrows(check.reason))) for check in decision.checks]
    return table(("check", "outcome", "why"), rows)


def _params(review: Review) -> str:
    rows = [(f"`{c.key}`", in_cell(shown(c.before)), in_cell(shown(c.after))) for c in review.params]
    return table(("parameter", "before", "after"), rows) if rows else "None differs."


def _stages(review: Review) -> str:
    rows = [(f"`{c.stage}`", escape(arrows("; ".join(c.reasons)))) for c in review.stages]
    return table(("stage", "why"), rows) if rows else "None: dvc.lock is the same but for its outs."


def _flips(review: Review) -> str:
    flips = [flip for flip in review.flips if flip.model == review.candidate]
    if not flips:
        return f"{review.candidate} gives the same answers, or there is nothing to compare with."
    total = ", ".join(f"{sum(flip.kind == kind for flip in flips)} {kind}" for kind in KINDS)
    rows = [_flip(flip) for flip in flips[:FLIPS_SHOWN]]
    return f"{review.candidate}: {total}. The first {len(rows)}:\n\n" + table(
        ("text", "truth", "before", "after", ""), rows
    )


def _flip(flip: Flip) -> tuple[str, ...]:
    text = " ".join(flip.text.split())
    cut = text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 3]}..."
    truth, *answers = _of_row(flip)
    sure = (flip.sure_before, flip.sure_after)
    before, after = (f"{one} ({of:.0%})" if of is not None else one for one, of in zip(answers, sure, strict=True))
    return escape(cut) or f"row {flip.row_id}", truth, before, after, flip.kind


def _of_row(flip: Flip) -> tuple[str, ...]:
    """The truth, and the answers before and after; those that mark places of the text, in words."""
    if flip.written:
        start = start_of(flip.before, flip.after, TEXT_SHOWN)
        return tuple(escape(shortened(text, start, TEXT_SHOWN)) for text in (flip.truth, flip.before, flip.after))
    if flip.marked is None:
        return tuple(escape(answer) for answer in (flip.truth, flip.before, flip.after))
    return tuple(escape(in_words(flip.text, marks)) or "none" for marks in flip.marked)


def difference(change: MetricChange) -> str:
    return value(change.difference, change.unit, signed=True)


def interval(change: MetricChange) -> str:
    """The ends of the difference; "-" where they are unknown, or are mere noise of timings."""
    return "-" if change.confidence is None else between(change.low, change.high, change.unit)


def shown(parameter: Any) -> str:
    text = "none" if parameter is None else str(parameter)
    return code(text if len(text) <= 60 else f"{text[:57]}...")


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- Note: {escape(line)}" for line in lines)
