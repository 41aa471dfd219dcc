"""A task that writes, through the stages to the pruned model: `python tests/writing_run.py FOLDER TASK KIND`.

The models are from scratch, and the rows a few made-up sentences with their translations.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conftest import REPOSITORY

from stages.cache_logits import cache_logits
from stages.clean import clean
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.distill import distill
from stages.finetune import finetune
from stages.ingest import ingest
from stages.prune import prune
from stages.tokenize import tokenize

SUBJECTS = {"the cat": "die Katze", "the dog": "der Hund", "a bird": "ein Vogel", "the child": "das Kind"}
VERBS = {"sees": "sieht", "hears": "hört", "knows": "kennt", "finds": "findet"}
OBJECTS = {"the house": "das Haus", "a ship": "ein Schiff", "the bread": "das Brot", "a tree": "einen Baum"}
SCRATCH = {
    kind: {"kind": kind, "layers": 2, "width": 32, "heads": 4, "feed_forward": 64, "positions": 64}
    for kind in ("gpt2", "llama", "t5")
}
VOCABULARY = 320
ROWS = "data/rows.jsonl"
TRAINING: dict[str, Any] = {
    "epochs": 2, "batch_size": 16, "encoder_learning_rate": 5.0e-3, "head_learning_rate": 5.0e-3,
    "freeze_embeddings": False, "precision": "fp32", "schedule": "constant",
}  # fmt: skip


def write_sentences(path: Path) -> None:
    """Sentences with their translations, in an order of their own."""
    rows = [
        {"source": f"{subject} {verb} {thing} {number}", "target": f"{own} {does} {what} {number}"}
        for subject, own in SUBJECTS.items()
        for verb, does in VERBS.items()
        for thing, what in OBJECTS.items()
        for number in (1, 2)
    ]
    random.Random(3).shuffle(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def sections_of(task: str, kind: str) -> dict[str, dict[str, Any]]:
    """The sections of params.yaml for a task that writes, with a tiny model of this kind from scratch."""
    alone = task == "text_generation"
    family = "encoder_decoder" if kind == "t5" else "decoder"
    columns = {"text": "target" if alone else "source", "text_pair": None, "label": "target"}
    return {
        "task": {"name": task, "measure": "bits_per_byte" if alone else "chrf"},
        "ingest": {"source": "files", "path": ROWS, "columns": columns},
        "clean": {"near_duplicate_jaccard": 1.0, "conflicting_labels": "keep"},
        "validate": {"min_labels": 1, "max_label_share": None, "min_rows": 1, "min_rows_per_label": 1},
        "model": {"family": family, "name": "scratch", "revision": None, "sha256": None, "scratch": SCRATCH[kind]},
        "tokenize": {"tokenizer": "trained", "vocabulary_size": VOCABULARY, "max_tokens": 48, "max_target_tokens": 24},
        "finetune": TRAINING,
        "cache_logits": {"likeliest": 8},
        "generate": {"max_new_tokens": 24},
        "distill": {**TRAINING, "family": family, "teacher_layers": [1], "epochs": 1},
        "prune": {"vocabulary": "all", "heads_kept": 0.5, "feed_forward_kept": 0.5, "epochs": 1},
        "promotion": {"max_ece": None, "max_identity_flip_rate": None},
    }


def params_of(root: Path, task: str, kind: str, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Params:
    """The repository's parameters with a task that writes, and a tiny model of this kind from scratch."""
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    write_sentences(root / ROWS)
    sections = sections_of(task, kind)
    sections["ingest"]["path"] = str(root / ROWS)
    for name, own in (changes or {}).items():
        sections[name] = sections.get(name, {}) | dict(own)
    return Params.model_validate(values | {name: values[name] | own for name, own in sections.items()})


def started(root: Path) -> Paths:
    """The paths of a project at `root`, of which nothing was released."""
    (root / "metrics").mkdir(parents=True, exist_ok=True)
    (root / "metrics/released_data.json").write_text("{}")
    return Paths(root)


if __name__ == "__main__":
    root, task, kind = Path(sys.argv[1]), *sys.argv[2:]
    changes = {"cache_logits": {"likeliest": 8, "sequence_beams": int(task == "text2text_generation")}}
    params, paths = params_of(root, task, kind, changes), started(root)
    for stage in (ingest, clean, tokenize, finetune, cache_logits, distill, prune):
        stage(params, paths)
