"""The report of the rows, from source to split, in Markdown. Pure: metrics/data/report.json in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flows.review.evidence import number
from flows.review.markdown import code, escape, in_cell, table, value
from stages.core.paths import HELD_OUT, SPLITS, TRANSFER

LABELS_SHOWN = 20
EXAMPLES_SHOWN = 2
STEPS = ("source", "unreadable", "read", "dropped", "kept")
SHARES = (("dropped", "dropped_share"), ("duplicates", "duplicate_share"))
LENGTHS = (("5th percentile", "p05"), ("median", "p50"), ("95th percentile", "p95"), ("longest", "longest"))

Report = Mapping[str, Any]


def as_markdown(now: Report, before: Report | None = None) -> str:
    """The report as Markdown; with an earlier one, each number that differs is shown as "before → now"."""
    before = before or {}
    splits = (*SPLITS, TRANSFER) if TRANSFER in now.get("chars", {}) else SPLITS
    aside = [HELD_OUT] if HELD_OUT in now.get("steps", {}) else []
    parts = [
        table(("step", "rows"), [(step, _count(now, before, "steps", step)) for step in (*STEPS, *splits, *aside)]),
        "; ".join(_shares(now, before)) + ".",
        *_warnings(now),
        _reasons(now, before),
        _labels(now, before),
        table(
            ("characters of a text", *splits),
            [(name, *(_count(now, before, "chars", split, key) for split in splits)) for name, key in LENGTHS],
        ),
    ]
    return "\n\n".join(parts)


def _count(now: Report, before: Report, *keys: str) -> str:
    return _change(number(before, *keys), number(now, *keys), "")


def _change(was: float | None, is_: float | None, unit: str) -> str:
    """A number, with its earlier value where that differs."""
    shown = [f"{one:,.0f}" if not unit and one is not None else value(one, unit) for one in (was, is_)]
    return shown[1] if was is None or shown[0] == shown[1] else f"{shown[0]} → {shown[1]}"


def _shares(now: Report, before: Report) -> Iterator[str]:
    for name, key in SHARES:
        yield f"{name} {_change(number(before, key), number(now, key), 'share')}"
    for name, key in (("cut of", "truncated_share"), ("unknown tokens of", "unknown_share")):
        for split in SPLITS:
            was, is_ = (number(one, key, split) for one in (before, now))
            yield f"{name} {split} {_change(was, is_, 'share')}"
    for split in SPLITS:
        if unread := number(now, "unread_rows", split):
            was = number(before, "unread_rows", split)
            yield f"rows of {split} of which the tokenizer reads nothing {_change(was, unread, '')}"


def _warnings(now: Report) -> Iterator[str]:
    if warnings := now.get("warnings"):
        yield "\n".join(f"- Warning: {escape(line)}" for line in warnings)


def _reasons(now: Report, before: Report) -> str:
    rows = [
        (
            reason.replace("_", " "),
            _count(now, before, "reasons", kind, reason),
            "<br>".join(_example(one) for one in now["examples"][kind].get(reason, [])[:EXAMPLES_SHOWN]),
        )
        for kind in ("unreadable", "dropped")
        for reason in now.get("reasons", {}).get(kind, {})
    ]
    return table(("dropped for", "rows", "such as"), rows) if rows else "No row was dropped."


def _example(row: Mapping[str, str | None]) -> str:
    label = f" ({escape(name)})" if (name := row.get("label")) else ""
    name = f"{in_cell(code(row_id))} " if (row_id := row["row_id"]) else ""
    return f"{name}{escape(row['text'] or '')}{label}"


def _labels(now: Report, before: Report) -> str:
    """The commonest labels, and an example of each."""
    labels = sorted(now.get("labels", {}), key=lambda label: (-now["labels"][label]["share"], label))
    rows = [
        (
            escape(label),
            *(_count(now, before, "labels", label, split) for split in SPLITS),
            _change(number(before, "labels", label, "share"), now["labels"][label]["share"], "share"),
            "".join(_example(one) for one in now["examples"]["labels"].get(label, [])[:1]),
        )
        for label in labels[:LABELS_SHOWN]
    ]
    listed = table(("label", *SPLITS, "share", "such as"), rows)
    gone = sorted(set(before.get("labels", {})) - set(labels))
    more = [f"{len(labels) - LABELS_SHOWN} labels more."] if len(labels) > LABELS_SHOWN else []
    more += [f"Gone: {', '.join(map(escape, gone[:LABELS_SHOWN]))}."] if gone else []
    return "\n\n".join([listed, *more])
