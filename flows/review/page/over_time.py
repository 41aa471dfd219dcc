"""The history of the candidate as the page shows it: three charts over commits, and their table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flows.review.evidence import Recorded, Review
from flows.review.history import change_of_time, change_of_value, judged_on, letters_of, machine_of, with_those_before
from flows.review.markdown import capital
from flows.review.page.cells import NOT_KNOWN, Cell, Table, cell, shown, typeset

NOT_COMPARED = "not known"


def history_charts(review: Review) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(key, title, specification): a line joins only what one test, or one machine, gave; fewer than two make none."""
    entries = review.history[::-1]
    tests, machines = letters_of(review.history, judged_on), letters_of(review.history, machine_of)
    measure = entries[-1].measure if entries else None
    own = [entry for entry in entries if measure and entry.measure.name == measure.name and entry.value is not None]
    if measure and len(own) > 1:
        title, share = capital(measure.title), measure.unit == "share"
        yield (
            "history-value",
            title,
            _chart(own, title, "test", tests, judged_on, lambda entry: entry.value, share=share),
        )
    timed = [entry for entry in entries if entry.p50_ms is not None]
    if len(timed) > 1:
        title = "Latency p50, ms"
        yield "history-time", title, _chart(timed, title, "machine", machines, machine_of, lambda entry: entry.p50_ms)
    sized = [entry for entry in entries if entry.size_mb is not None]
    if len(sized) > 1:
        title = "Size, MB"
        yield "history-size", title, _chart(sized, title, "", {"": ""}, lambda _: "", lambda entry: entry.size_mb)


def _chart(
    entries: Sequence[Recorded],
    title: str,
    kind: str,
    names: Mapping[str, str],
    series: Callable[[Recorded], str],
    value: Callable[[Recorded], float | None],
    *,
    share: bool = False,
) -> dict[str, Any]:
    """A line for each series, by the letters of the table, `names`; what has none is points alone."""
    import altair as alt

    from flows.review.page.charts import spec

    points = [
        {
            "revision": entry.commit, "date": entry.date, "what": entry.subject, "value": value(entry),
            "series": f"{kind} {names[series(entry)]}" if series(entry) in names else NOT_COMPARED,
            **({"low": entry.low, "high": entry.high} if kind == "test" and entry.low is not None else {}),
        }
        for entry in entries
    ]  # fmt: skip
    known = [point for point in points if point["series"] != NOT_COMPARED]
    domain = list(dict.fromkeys(point["series"] for point in points))
    legend = alt.Legend(title=None) if len(domain) > 1 else None
    x = alt.X("revision:O", title=None, scale=alt.Scale(domain=[entry.commit for entry in entries]),
              axis=alt.Axis(labelAngle=-90, labelOverlap="greedy"))  # fmt: skip
    y = alt.Y(
        "value:Q", title=None, axis=alt.Axis(format=".1%" if share else "", tickCount=5), scale=alt.Scale(zero=False)
    )
    colour = alt.Color("series:N", scale=alt.Scale(domain=domain), legend=legend)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=domain), legend=legend)
    number = alt.Tooltip("value:Q", format=".1%" if share else ".4~r", title=title)
    tips = [alt.Tooltip("revision:O"), alt.Tooltip("date:N"), alt.Tooltip("what:N"), number, alt.Tooltip("series:N")]
    everything, joined = (alt.Chart(alt.NamedData(name=name)) for name in ("points", "known"))
    chart: Any = joined.mark_line().encode(x, y, colour)
    if any("low" in point for point in points):
        chart = chart + everything.mark_rule(opacity=0.5).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
    chart = chart + everything.mark_point(filled=True, size=50, opacity=1).encode(x, y, colour, shape, tooltip=tips)
    return spec(chart, f"{title} over commits", 200, points=points, known=known)


def history_table(review: Review) -> Table:
    """A row for each commit, newest first; what its values are of stands beside them as a letter."""
    entries = review.history
    tests, machines = letters_of(entries, judged_on), letters_of(entries, machine_of)
    titles = " or ".join(dict.fromkeys(capital(entry.measure.title) for entry in entries))
    columns = ("Revision", "Date", "What", "Test", titles, "Change", "Machine", "p50, ms", "Change of p50", "Size, MB")
    rows = tuple(_row(entry, before, tests, machines) for entry, before in with_those_before(entries))
    return Table("history", f"The last commits that changed the figures of {review.candidate}.", columns, rows)


def _row(
    entry: Recorded, before: Recorded | None, tests: Mapping[str, str], machines: Mapping[str, str]
) -> tuple[Cell, ...]:
    unit = entry.measure.unit
    ends = [shown(end, unit) for end in (entry.low, entry.high)]
    return (
        Cell(entry.commit, style="code", note=", ".join(entry.tags)),
        Cell(entry.date),
        Cell(entry.subject, style="text"),
        Cell(tests.get(judged_on(entry), NOT_KNOWN)),
        cell(entry.value, unit, note="" if NOT_KNOWN in ends else " to ".join(ends)),
        Cell(_told(change_of_value(entry, before)), _moved(entry, before), "number"),
        Cell(machines.get(entry.machine, NOT_KNOWN)),
        cell(entry.p50_ms),
        Cell(_told(change_of_time(entry, before)), _slower(entry, before), "number"),
        cell(entry.size_mb),
    )


def _told(change: str) -> str:
    return NOT_KNOWN if change == "-" else typeset(change)


def _moved(entry: Recorded, before: Recorded | None) -> float | None:
    """The difference that the column is sorted by."""
    if before is None or entry.value is None or before.value is None or not entry.same_test(before):
        return None
    return entry.value - before.value


def _slower(entry: Recorded, before: Recorded | None) -> float | None:
    if before is None or entry.p50_ms is None or not before.p50_ms or not entry.same_machine(before):
        return None
    return entry.p50_ms / before.p50_ms
