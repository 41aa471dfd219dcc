"""Runs a quantized model with ONNX Runtime and tokenizers alone: nothing else is imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from stages.backends.batching import only_taken, open_tokenizer, probabilities
from stages.core.contracts import Runner
from stages.core.files import read_json


def open_runner(folder: Path, threads: int) -> Runner:
    """Open model.onnx in `folder` on the CPU, with `threads` threads, or as many as model.json allows."""
    description = read_json(folder / "model.json")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(threads, description.get("most_threads", threads))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}
    labels, temperature = tuple(description["labels"]), description["temperature"]
    tokenizer = open_tokenizer(folder, description)

    def run(*inputs: np.ndarray) -> np.ndarray:
        return session.run(["logits"], only_taken(names, inputs))[0]

    return Runner(
        labels=labels,
        predict=lambda texts: probabilities(texts, tokenizer, run, n_labels=len(labels), temperature=temperature),
    )
