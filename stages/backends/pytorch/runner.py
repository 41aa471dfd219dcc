"""Runs a model with PyTorch, as trained: the teacher and the student before quantization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.backends.batching import runner_of
from stages.backends.pytorch.stepping import stepper_of
from stages.backends.writing import Backed, writing_runner
from stages.core.contracts import Family, Runner
from stages.core.model_folder import describe, plugin_of, reads_images
from stages.models import FAMILIES


def open_runner(folder: Path, threads: int) -> Runner:
    """Open the model in `folder` in float32."""
    torch.set_num_threads(threads)
    description = describe(folder)
    family: Family = plugin_of(folder, "family", FAMILIES)
    model = family.open(folder)

    def run(*inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(*map(torch.from_numpy, inputs)).numpy()

    if "writing" in description:
        language = model.language
        return writing_runner(folder, description, Backed(lambda: stepper_of(language), run))
    return runner_of(folder, description, run, _of_images(model) if reads_images(description) else None)


def _of_images(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = model.of_images(torch.from_numpy(pixels)).numpy()
            return found

    return run
