"""Sets of labels through the stages, to int8, in one process: python tests/multilabel_run.py FOLDER."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from conftest import REPOSITORY, TOPICS, write_tiny_model

from stages.baseline import baseline
from stages.cache_logits import cache_logits
from stages.clean import clean
from stages.core.files import sha256
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.distill import distill
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.ingest import ingest
from stages.prune import prune
from stages.quantize import quantize
from stages.report import report
from stages.tokenize import tokenize
from stages.validate import validate

ROWS = 240
FILLER = ["the", "a", "with", "near", "under", "over", "some"]


def write_sets(path: Path) -> Path:
    """JSON lines of `text` and `topics`: those whose words it has, of three; and two rows that are no sets."""
    draw = random.Random(3)
    lines: list[dict[str, Any]] = []
    for number in range(ROWS):
        topics = [topic for place, topic in enumerate(TOPICS) if number >> place & 1]
        words = [word for topic in topics for word in draw.sample(TOPICS[topic], 3)] + draw.sample(FILLER, 4)
        draw.shuffle(words)
        lines.append({"text": " ".join(words), "topics": topics})
    lines += [{"text": "the old ship", "topics": ["sea", 1]}, {"text": "a small boat", "topics": None}]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def settings(root: Path) -> Params:
    """The project's params.yaml, with a tiny model and few epochs."""
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    model = write_tiny_model(root / "tiny", layers=2)
    changes = {
        "task": {"name": "multilabel_classification", "measure": "micro_f1"},
        "ingest": {"source": "files", "path": str(write_sets(root / "data/sets.jsonl")),
                   "columns": {"text": "text", "text_pair": None, "label": "topics"}},
        "clean": {"near_duplicate_jaccard": 0.95},
        "model": {"name": str(model), "revision": None, "sha256": sha256(model / "model.safetensors")},
        "tokenize": {"max_tokens": 10, "long_texts": "windows", "stride": 2},
        "finetune": {"epochs": 8, "batch_size": 16, "encoder_learning_rate": 5.0e-3, "head_learning_rate": 2.0e-2,
                     "freeze_embeddings": False, "precision": "fp32", "patience": 8, "class_weights": "balanced"},
        "cache_logits": {"augmented_copies": 1},
        "distill": {"epochs": 4, "batch_size": 16, "encoder_learning_rate": 3.0e-3, "teacher_layers": [0, 1],
                    "precision": "fp32"},
        "prune": {"common_words": 10, "epochs": 2, "heads_kept": 0.75, "feed_forward_kept": 0.5},
        "evaluate": {"resamples": 100, "perturbed_rows": 5},
    }  # fmt: skip
    return Params.model_validate(values | {name: values[name] | own for name, own in changes.items()})


if __name__ == "__main__":
    root = Path(sys.argv[1])
    params, paths = settings(root), Paths(root)
    (root / "metrics").mkdir()
    (root / "metrics/released_data.json").write_text("{}")
    for stage in (
        ingest, clean, validate, tokenize, report, baseline, finetune, cache_logits, distill, prune, quantize
    ):  # fmt: skip
        stage(params, paths)
    for name in ("baseline", "quantized"):
        evaluate(params, paths, name)
