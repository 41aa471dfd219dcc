"""Runs static embeddings with a linear head, in numpy: no network, no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from stages.backends.batching import runner_of
from stages.backends.static.features import Static, features
from stages.core.contracts import Runner
from stages.core.model_folder import describe


def open_runner(folder: Path, threads: int) -> Runner:  # noqa: ARG001 - runners have one face
    """Open the model in `folder`. It runs on the threads of numpy, whatever `threads` is."""
    description = describe(folder)
    weights = load_file(folder / "model.safetensors")
    static = Static(weights["vectors"].astype(np.float32), weights["weights"])
    coefficients_FK, intercept_K = weights["coefficients"].T, weights["intercept"]
    per_token = description["per_token"]

    def run(*inputs: np.ndarray) -> np.ndarray:
        return features(static, *inputs, per_token=per_token) @ coefficients_FK + intercept_K

    return runner_of(folder, description, run)
