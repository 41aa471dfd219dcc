"""The stages that know of pairs, over a tiny corpus of them, in one process: python tests/pairs_run.py FOLDER.

The label is the topic of the second text, and the first text is of the other topic: what the words alone, of whichever
text, cannot tell.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

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
from stages.probe import probe
from stages.prune import prune
from stages.quantize import quantize
from stages.static import static
from stages.tokenize import tokenize

ROWS = 160


def write_pairs(path: Path) -> Path:
    """A csv of `premise`, `hypothesis` and `topic`, with a row whose second text is missing."""
    draw = random.Random(3)
    topics = ["sea", "kitchen"]
    rows = []
    for number in range(ROWS):
        topic, other = topics[number % 2], topics[1 - number % 2]
        rows.append((" ".join(draw.sample(TOPICS[other], 4)), " ".join(draw.sample(TOPICS[topic], 4)), topic))
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("premise", "hypothesis", "topic"), *rows, ("ship wave sailor", "", "sea")])
    return path


def settings(root: Path) -> Params:
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    model = write_tiny_model(root / "tiny", layers=2)
    changes = {
        "ingest": {"source": "files", "path": str(write_pairs(root / "data/pairs.csv")),
                   "columns": {"text": "premise", "text_pair": "hypothesis", "label": "topic"}},
        "clean": {"near_duplicate_jaccard": 0.95},
        "model": {"name": str(model), "revision": None, "sha256": sha256(model / "model.safetensors")},
        "tokenize": {"max_tokens": 16},
        "finetune": {"epochs": 5, "batch_size": 16, "encoder_learning_rate": 5.0e-3, "head_learning_rate": 2.0e-2,
                     "freeze_embeddings": False, "precision": "fp32", "patience": 6},
        "cache_logits": {"augmented_copies": 1},
        "distill": {"epochs": 2, "batch_size": 16, "encoder_learning_rate": 3.0e-3, "teacher_layers": [0, 1],
                    "precision": "fp32"},
        "prune": {"common_words": 10, "epochs": 2, "heads_kept": 0.75, "feed_forward_kept": 0.5},
        "quantize": {"max_loss": 1.0},
        "evaluate": {"resamples": 100, "perturbed_rows": 5},
    }  # fmt: skip
    return Params.model_validate(values | {name: values[name] | own for name, own in changes.items()})


if __name__ == "__main__":
    root = Path(sys.argv[1])
    params, paths = settings(root), Paths(root)
    for stage in (ingest, clean, tokenize, baseline, static, probe, finetune, cache_logits, distill, prune, quantize):
        stage(params, paths)
    for name in ("baseline", "quantized"):
        evaluate(params, paths, name)
