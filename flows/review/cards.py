"""The model card and the data card, from params.yaml and metrics/: the review's numbers for users of the model.

Source: Mitchell et al. 2019, arXiv:1810.03993; Gebru et al. 2021, arXiv:1803.09010.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from flows.review import metrics
from flows.review.markdown import table, value
from stages.compression.recipe import ensemble, pruned_to, recurrent
from stages.core.params.distill import DistillParams
from stages.core.params.file import Params, load_params
from stages.core.params.model import TokenizeParams
from stages.core.paths import BESIDE, SPLITS, Paths

GENERATED = "<!-- made by `make readme` from params.yaml and metrics/; do not edit -->"


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
        root / "docs/model-card.md": model_card(params, root, _json(paths.quality(released))),
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
    labels = list(quality["per_label"])
    kind = "texts" if params.ingest.columns.text_pair is None else "pairs of texts"
    head = {"pipeline_tag": "text-classification", "base_model": params.model.name, "license": "apache-2.0"}
    sections = {
        "What it is": f"A classifier of {kind} into {len(labels)} labels, in int8: {params.model.name}, "
        f"fine-tuned{ensemble(params)}, distilled to {_student(params.distill)},{_pruned(root)} quantized by "
        f"`{params.quantize.backend}`. "
        "It always answers, and knows no other labels, languages or kinds of text than those of its "
        f"[data](data-card.md). Texts are {_cut(params.tokenize)} tokens."
        if params.promotion.model == "quantized"
        else f"The {params.promotion.model} model, a classifier of {kind} into {len(labels)} labels.",
        "How good it is": "\n\n".join(
            [_quality(quality), metrics.as_markdown(metrics.rows(root), metrics.notes(root))]
        ),
        "Where it is weak": "\n\n".join([_slices(quality), _labels(quality)]),
        "When texts change": _robustness(quality),
        "People": _fairness(quality),
        "Recipe": "Every value is in [params.yaml](../params.yaml); dvc.lock names the bytes of data and code. "
        "`make repro` makes the model again.",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"---\n{yaml.safe_dump(head)}---\n\n{GENERATED}\n\n# Model card\n\n{body}\n"


def _pruned(root: Path) -> str:
    """A phrase on the parts that pruning left; empty where nothing was pruned."""
    left = pruned_to(_json(Paths(root).pruning_report))
    return f" pruned to {left}," if left else ""


def _quality(quality: Mapping[str, Any]) -> str:
    ends = quality["intervals"]
    of = {name: f"{value(ends[name]['low'], 'share')} to {value(ends[name]['high'], 'share')}" for name in ends}
    return (
        f"On {quality['rows']:,} test rows: accuracy {value(quality['accuracy'], 'share')} ({of['accuracy']}), "
        f"macro-F1 {value(quality['macro_f1'], 'share')} ({of['macro_f1']}), log loss "
        f"{value(quality['log_loss'], 'nats')}, expected calibration error {value(quality['ece'], 'share')}, "
        f"Brier score {value(quality['brier'], '')}."
    )


def _slices(quality: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{column}: {name}",
            f"{part['rows']:,}",
            value(part["accuracy"], "share"),
            f"{value(part['low'], 'share')} to {value(part['high'], 'share')}",
        )
        for column, parts in quality["slices"].items()
        for name, part in parts.items()
    ]
    worst = quality.get("worst_slice")
    named = f'The weakest slice is "{worst["name"]}", {value(worst["accuracy"], "share")}.\n\n' if worst else ""
    return named + table(("slice", "rows", "accuracy", "between"), rows) if rows else "No slices were measured."


def _labels(quality: Mapping[str, Any]) -> str:
    weakest = sorted(quality["per_label"].items(), key=lambda item: item[1]["f1"])[:5]
    rows = [
        (name, f"{of['rows']:,}", *(value(of[key], "share") for key in ("precision", "recall", "f1")))
        for name, of in weakest
    ]
    return "The labels with the lowest F1:\n\n" + table(("label", "rows", "precision", "recall", "F1"), rows)


def _robustness(quality: Mapping[str, Any]) -> str:
    rows = [
        (name.replace("_", " "), f"{of['rows']:,}", value(of["flip_rate"], "share"), value(of["accuracy"], "share"))
        for name, of in quality["robustness"].items()
    ]
    return "Answers that change when a text changes in ways that do not matter:\n\n" + table(
        ("change", "rows", "other answer", "accuracy after"), rows
    )


def _fairness(quality: Mapping[str, Any]) -> str:
    return " ".join(_fairness_lines(quality["fairness"]))


def _fairness_lines(fairness: Mapping[str, Any]) -> Iterator[str]:
    swaps = fairness["identity_swaps"]
    if swaps["rows"]:
        yield (
            f"{swaps['rows']:,} of the test rows hold words such as he or she; with those swapped, "
            f"{value(swaps['flip_rate'], 'share')} of the answers change."
        )
    else:
        yield "No test row holds a word such as he or she, so nothing is known of how it treats people."
    if groups := fairness.get("groups"):
        yield f"Between groups accuracy differs by {value(groups['accuracy_gap'], 'share')} at most."
    else:
        yield "No column says whom a row is about."


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
