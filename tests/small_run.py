"""What the small runs through the stages have in common: a tiny model, few epochs, and the order of the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import REPOSITORY, write_tiny_model

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
from stages.report import report
from stages.static import static
from stages.tokenize import tokenize
from stages.validate import validate

DATA = (ingest, clean, validate, tokenize, report)
FLOORS = (baseline, static, probe)
MODELS = (finetune, cache_logits, distill, prune, quantize)
FILLER = ["the", "a", "with", "near", "under", "over", "some"]
SMALL: dict[str, dict[str, Any]] = {
    "clean": {"near_duplicate_jaccard": 0.95},
    "finetune": {"epochs": 8, "batch_size": 16, "encoder_learning_rate": 5.0e-3, "head_learning_rate": 2.0e-2,
                 "freeze_embeddings": False, "precision": "fp32", "patience": 8},
    "cache_logits": {"augmented_copies": 1},
    "distill": {"epochs": 4, "batch_size": 16, "encoder_learning_rate": 3.0e-3, "teacher_layers": [0, 1],
                "precision": "fp32"},
    "prune": {"common_words": 10, "epochs": 2, "heads_kept": 0.75, "feed_forward_kept": 0.5},
    "evaluate": {"resamples": 100, "perturbed_rows": 5},
}  # fmt: skip


def small(root: Path, changes: Mapping[str, Mapping[str, Any]]) -> Params:
    """The project's params.yaml with SMALL, a tiny model, which is written to `root`, and `changes` by section."""
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    folder = write_tiny_model(root / "tiny", layers=2)
    model = {"name": str(folder), "revision": None, "sha256": sha256(folder / "model.safetensors")}
    model |= changes.get("model", {})
    sections = {name: SMALL.get(name, {}) | changes.get(name, {}) for name in {*SMALL, *changes} - {"model"}}
    return Params.model_validate(
        values | {name: values[name] | own for name, own in ({"model": model} | sections).items()}
    )


def go_through(params: Params, root: Path, stages: Sequence[Any], *, evaluated: Sequence[str]) -> Paths:
    """Run the stages, in their order, over nothing that was released; evaluate the models that are named."""
    paths = Paths(root)
    (root / "metrics").mkdir()
    (root / "metrics/released_data.json").write_text("{}")
    for stage in stages:
        stage(params, paths)
    for name in evaluated:
        evaluate(params, paths, name)
    return paths
