"""Runs a quantized model with ONNX Runtime and tokenizers alone: nothing else is imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from stages.backends.batching import only_taken, runner_of
from stages.core.contracts import Runner
from stages.core.model_folder import describe


def open_runner(folder: Path, threads: int) -> Runner:
    """Open model.onnx in `folder` on the CPU, with `threads` threads, or as many as model.json allows."""
    description = describe(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(threads, description.get("most_threads", threads))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}

    def run(*inputs: np.ndarray) -> np.ndarray:
        return session.run(["logits"], only_taken(names, inputs))[0]

    return runner_of(folder, description, run)
