"""A task that writes, from the rows to the comparison of all models: `python tests/written_run.py FOLDER TASK KIND`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from writing_run import params_of, started

from stages.baseline import baseline
from stages.cache_logits import cache_logits
from stages.clean import clean
from stages.compare import compare
from stages.core.paths import MODELS
from stages.distill import distill
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.ingest import ingest
from stages.probe import probe
from stages.profile import profile
from stages.prune import prune
from stages.quantize import quantize
from stages.report import report
from stages.static import static
from stages.tokenize import tokenize
from stages.validate import validate

CHANGES: dict[str, dict[str, Any]] = {
    "evaluate": {"resamples": 100, "perturbed_rows": 4, "identity_swaps": [["cat", "dog"], ["katze", "hund"]]},
    "quantize": {"max_loss": 0.5},
    "baseline": {"max_bytes": 3},
}

if __name__ == "__main__":
    root, task, kind = Path(sys.argv[1]), *sys.argv[2:]
    params, paths = params_of(root, task, kind, CHANGES), started(root)
    floors, made = (baseline, static, probe), (finetune, cache_logits, distill, prune, quantize)
    for stage in (ingest, clean, validate, tokenize, report, *floors, *made):
        stage(params, paths)
    for name in MODELS:
        evaluate(params, paths, name)
    compare(params, paths)
    profile(params, paths, "static", "probe")
