"""The model card and the data card, from params.yaml and metrics/: the review's numbers for users of the model.

Source: Mitchell et al. 2019, arXiv:1810.03993; Gebru et al. 2021, arXiv:1803.09010.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from flows.gate.rules import Rules, rules_of
from flows.review import earlier, metrics
from flows.review.evidence import mapping, number
from flows.review.markdown import article, capital, escape, plural, table, value
from flows.review.task import judged_first
from stages.compression.recipe import pruned_to, recurrent, taught
from stages.core import plugins
from stages.core.params.distill import DistillParams
from stages.core.params.file import Params, load_params
from stages.core.params.model import TokenizeParams
from stages.core.paths import BESIDE, SPLITS, Paths
from stages.tasks import TASKS
from stages.tasks.contract import TaskSettings

GENERATED = "<!-- made by `make readme` from params.yaml and metrics/; do not edit -->"
WEAKEST_SHOWN = 5  # classes


def cards_of(root: Path) -> dict[Path, str]:
    """The text of each card, by its path; no cards before there are metrics."""
    paths = Paths(root)
    if not paths.cleaning_report.is_file():
        return {}
    params = load_params(root / "params.yaml")
    released = params.promotion.model
    if not paths.quality(released).is_file():
        return {}
    return {
        root / "docs/model-card.md": model_card(params, root, earlier.quality(_json(paths.quality(released)))),
        root / "docs/data-card.md": data_card(params, _json(paths.cleaning_report), _json(paths.token_report)),
    }


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _cut(tokenize: TokenizeParams) -> str:
    return f"{'cut at' if tokenize.long_texts == 'truncate' else 'read in windows of'} {tokenize.max_tokens}"


def _student(distill: DistillParams) -> str:
    width = f" of a width of {distill.hidden_size}" if distill.hidden_size else ""
    return recurrent(distill) or f"{len(distill.teacher_layers)} layers{width}"


def model_card(params: Params, root: Path, quality: Mapping[str, Any]) -> str:
    """The model card: the released model, how it was made, how good it is, and where it is weak."""
    settings: TaskSettings = plugins.part(TASKS, params.task.name, "settings", key="task.name")
    rules = rules_of(params)
    head = {"pipeline_tag": settings.pipeline_tag, "base_model": params.model.name}
    sections = {
        "What it is": _what(params, settings, root, mapping(quality, f"per_{rules.task.kind}"), rules.task.kind),
        "How good it is": "\n\n".join(
            [_quality(quality, rules), metrics.as_markdown(metrics.rows(root), metrics.notes(root))]
        ),
        "Where it is weak": "\n\n".join(
            [_slices(quality, rules.task.score_title), *_classes(quality, rules.task.kind)]
        ),
        "When texts change": _robustness(quality, rules.task.score_title),
        "People": _fairness(quality, rules.task.score_title, params),
        "Recipe": "Every value is in [params.yaml](../params.yaml); dvc.lock names the bytes of data and code. "
        "`make repro` makes the model again.",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"---\n{yaml.safe_dump(head)}---\n\n{GENERATED}\n\n# Model card\n\n{body}\n"


def _what(params: Params, settings: TaskSettings, root: Path, classes: Mapping[str, Any], kind: str) -> str:
    """A paragraph on the model: what it answers, and what it was made of."""
    pairs = "" if params.ingest.columns.text_pair is None else " of pairs of texts"
    what = f"{article(settings.noun)}{pairs}" + (f" with {len(classes)} {plural(kind)}" if classes else "")
    if params.promotion.model != "quantized":
        return f"The {params.promotion.model} model, {what}."
    return (
        f"{capital(what)}, in int8: {params.model.name}, "
        f"{taught(params)}, distilled to {_student(params.distill)},{_pruned(root)} quantized by "
        f"`{params.quantize.backend}`. "
        f"It always answers, and knows no other {plural(kind)}, languages or kinds of text than those of its "
        f"[data](data-card.md). Texts are {_cut(params.tokenize)} tokens."
    )


def _pruned(root: Path) -> str:
    """A phrase on the parts that pruning left; empty where nothing was pruned."""
    left = pruned_to(_json(Paths(root).pruning_report))
    return f" pruned to {left}," if left else ""


def _quality(quality: Mapping[str, Any], rules: Rules) -> str:
    """The measures, the judged one last, each with its interval; then the task's other figures."""
    parts = []
    for measure in judged_first(rules.task, rules.measure.name)[::-1]:
        found, low, high = (
            value(number(quality, *keys), measure.unit)
            for keys in ((measure.name,), *(("intervals", measure.name, end) for end in ("low", "high")))
        )
        parts.append(f"{measure.title} {found} ({low} to {high})")
    for figure in rules.task.figures:
        if (found_figure := number(quality, figure.key)) is not None:
            parts.append(f"{figure.title} {value(found_figure, figure.unit)}")
    return f"On {quality['rows']:,} test rows: {', '.join(parts)}."


def _slices(quality: Mapping[str, Any], score: str) -> str:
    rows = [
        (
            escape(f"{column}: {name}"),
            f"{part['rows']:,}",
            value(part["score"], "share"),
            f"{value(part['low'], 'share')} to {value(part['high'], 'share')}",
        )
        for column, parts in quality["slices"].items()
        for name, part in parts.items()
    ]
    worst = quality.get("worst_slice")
    named = f'The weakest slice is "{escape(worst["name"])}", {value(worst["score"], "share")}.\n\n' if worst else ""
    return named + table(("slice", "rows", score, "between"), rows) if rows else "No slices were measured."


def _classes(quality: Mapping[str, Any], kind: str) -> Iterator[str]:
    """The classes with the lowest F1, where the task reports their figures."""
    found = mapping(quality, f"per_{kind}")
    if not found:
        return
    weakest = sorted(found.items(), key=lambda item: number(item[1], "f1") or 0.0)[:WEAKEST_SHOWN]
    shown = [name for name in ("precision", "recall", "f1") if all(name in of for _, of in weakest)]
    counts = [name for name in ("rows", "true") if all(name in of for _, of in weakest)][:1]
    rows = [
        (escape(name), *(f"{of[key]:,}" for key in counts), *(value(of[key], "share") for key in shown))
        for name, of in weakest
    ]
    header = (kind, *counts, *(name.replace("f1", "F1") for name in shown))
    yield f"The {plural(kind)} with the lowest F1:\n\n" + table(header, rows)


def _robustness(quality: Mapping[str, Any], score: str) -> str:
    rows = [
        (name.replace("_", " "), f"{of['rows']:,}", value(of["flip_rate"], "share"), value(of["score"], "share"))
        for name, of in quality["robustness"].items()
    ]
    return "Answers that change when a text changes in ways that do not matter:\n\n" + table(
        ("change", "rows", "other answer", f"{score} after"), rows
    )


def _fairness(quality: Mapping[str, Any], score: str, params: Params) -> str:
    usual = params.evaluate.identity_swaps == "gender_en"
    words = ("a word", "words", " such as he or she") if usual else ("an identity word", "identity words", "")
    lines = [*_fairness_lines(quality["fairness"], score, *words)]
    if params.debias.method != "none":
        lines.append(
            f"It was trained with `debias.method: {params.debias.method}`, against unequal treatment; how far that went"
            " these figures say, and no more."
        )
    return " ".join(lines)


def _fairness_lines(fairness: Mapping[str, Any], score: str, word: str, words: str, such: str) -> Iterator[str]:
    swaps = fairness["identity_swaps"]
    if swaps["rows"]:
        yield (
            f"{swaps['rows']:,} of the test rows hold {words}{such}; with those swapped, "
            f"{value(swaps['flip_rate'], 'share')}{_ends(swaps)} of the answers change."
        )
    else:
        yield f"No test row holds {word}{such}, so nothing is known of how it treats people."
    if filled := fairness.get("templates"):
        found = value(filled["flip_rate"], "share")
        yield f"Of {filled['rows']:,} sentences {found}{_ends(filled)} have an answer that hangs on who is in them."
    if groups := fairness.get("groups"):
        if groups["score_gap"] is not None:  # of one group there is none
            ends = _ends(mapping(groups, "intervals", "score_gap"))
            yield f"Between groups the {score} differs by {value(groups['score_gap'], 'share')}{ends} at most."
        if worst := mapping(groups, "worst_group"):
            found = value(worst["score"], "share")
            yield f"The worst group, {escape(worst['name'])}, of {worst['rows']:,} rows, has {found}{_ends(worst)}."
    else:
        yield "No column says whom a row is about."


def _ends(found: Mapping[str, Any]) -> str:
    """The interval in brackets; empty of a revision that has none."""
    if not {"low", "high"} <= found.keys():
        return ""
    return f" ({value(found['low'], 'share')} to {value(found['high'], 'share')})"


def data_card(params: Params, cleaning: Mapping[str, Any], tokens: Mapping[str, Any]) -> str:
    """The data card: where the rows come from, how many were dropped and why, how they were split."""
    dropped = [(name.replace("_", " "), f"{n:,}") for name, n in sorted(cleaning["dropped_by_reason"].items()) if n]
    splits = [
        (split, f"{cleaning['rows'][split]:,}", value(tokens.get(split, {}).get("mean_tokens"), ""),
         value(tokens.get(split, {}).get("truncated_share"), "share"))
        for split in (*SPLITS, *(split for split in BESIDE if cleaning["rows"].get(split)))
    ]  # fmt: skip
    source = params.ingest
    origin = (
        f"Docstrings of {len(source.docstrings.libraries)} installed Python libraries, each labelled with its library, "
        "the library's own names masked. English, and about code."
        if source.source == "docstrings"
        else f"The source `{source.source}`, from `{source.hub.dataset or source.path}`."
    )
    lost = f" {unreadable:,} more could not be read." if (unreadable := cleaning.get("unreadable")) else ""
    sections = {
        "Where it came from": f"{origin} {cleaning['read']:,} rows were read, with {cleaning['labels']} labels.{lost}",
        "What was done to it": f"In this order: {', '.join(params.clean.rules)}. {cleaning['kept']:,} rows were kept, "
        f"{cleaning['dropped']:,} went to quarantine, {cleaning['cut']:,} were cut at {params.clean.max_chars:,} "
        "characters.\n\n" + (table(("dropped for", "rows"), dropped) if dropped else "No row was dropped."),
        "Splits": "No near-duplicate, and no group of rows, is on both sides of a split.\n\n"
        + table(("split", "rows", "mean tokens", "cut share"), splits),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{GENERATED}\n\n# Data card\n\n{body}\n"
