"""Runs a quantized model with ONNX Runtime and tokenizers alone: nothing else is imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from stages.backends.batching import open_tokenizer, probabilities
from stages.contracts import Runner
from stages.files import read_json


def open_runner(folder: Path, threads: int) -> Runner:
    """Open model.onnx in `folder` on the CPU."""
    description = read_json(folder / "model.json")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    labels = tuple(description["labels"])
    tokenizer = open_tokenizer(folder, max_tokens=description["max_tokens"])

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        return session.run(["logits"], {"input_ids": input_ids, "attention_mask": attention_mask})[0]

    shape = {"n_labels": len(labels), "pad_id": description["pad_id"], "temperature": description["temperature"]}
    return Runner(labels=labels, predict=lambda texts: probabilities(texts, tokenizer, run, **shape))
