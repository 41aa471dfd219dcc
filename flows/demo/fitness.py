"""Which models a demo page can run; the others are refused with what to do instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.demo.tables import NEEDED
from stages.backends.batching import task_of

BACKEND = "onnxruntime_int8"
PAGE = Path(__file__).parent / "page"
TASKS = sorted(path.stem for path in (PAGE / "tasks").glob("*.js"))
_WORDS = {"Sequence", "BertNormalizer", "Replace", "Lowercase"}  # BERT's way, and that with marks for capitals


def refuse_unfit(folder: Path, description: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    """Raise ValueError, with the first reason, where a page would not answer as the model in `folder` does.

    `description` is its model.json, `tokenizer` its tokenizer.json.
    """
    for found, allowed in _faults(description, tokenizer):
        raise ValueError(
            f"{folder}: {found}, which no demo page runs. Allowed: {allowed}. Or serve it: winnow app {folder}"
        )


def _faults(description: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if (task := task_of(description)) not in TASKS:
        yield f"a model of the task '{task}'", ", ".join(TASKS)
    if (backend := description["backend"]) != BACKEND:
        yield f"a model of the backend '{backend}'", f"{BACKEND} (quantize.backend), as in artifacts/models/quantized"
    if description.get("pairs"):
        yield "a model of pairs of texts", "models of single texts"
    rules = description["cleaning"]["rules"] if description.get("cleaning") else ()
    if unknown := [rule for rule in rules if rule not in NEEDED]:
        yield f"its texts are cleaned by {', '.join(unknown)}", ", ".join(NEEDED)
    if kind := _other_kind(tokenizer):
        yield (
            f"its tokenizer has {kind}",
            "WordPiece with BERT's normalizer, as MiniLM, BERT, DistilBERT and ELECTRA have",
        )


def _other_kind(tokenizer: Mapping[str, Any]) -> str | None:
    """What of the tokenizer is not as BERT's; None where all is."""
    if (model := tokenizer["model"]["type"]) != "WordPiece":
        return f"a model of the kind {model}"
    normalizer = tokenizer["normalizer"] or {}
    steps = [normalizer, *normalizer.get("normalizers", ())]
    if "BertNormalizer" not in (types := [step.get("type") for step in steps]) or not _WORDS.issuperset(types):
        return f"the normalizer {normalizer.get('type')}"
    if (words := (tokenizer["pre_tokenizer"] or {}).get("type")) != "BertPreTokenizer":
        return f"the pre-tokenizer {words}"
    return None
