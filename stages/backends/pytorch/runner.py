"""Runs a model with PyTorch, as trained: the teacher and the student before quantization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stages import plugins
from stages.backends.batching import open_tokenizer, probabilities
from stages.contracts import Family, Runner
from stages.files import read_json
from stages.models import FAMILIES


def open_runner(folder: Path, threads: int) -> Runner:
    """Open the model in `folder` in float32."""
    torch.set_num_threads(threads)
    description = read_json(folder / "model.json")
    family: Family = plugins.load(FAMILIES, description["family"], key=f"{folder}: family")
    model = family.open(folder)
    labels = tuple(description["labels"])
    tokenizer = open_tokenizer(folder, max_tokens=description["max_tokens"])

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(input_ids), torch.from_numpy(attention_mask)).numpy()

    return Runner(
        labels=labels,
        predict=lambda texts: probabilities(texts, tokenizer, run, n_labels=len(labels), pad_id=description["pad_id"]),
    )
