"""Runs a quantized model with OpenVINO and tokenizers alone."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino

from stages.backends.batching import only_taken, runner_of
from stages.core.contracts import Runner
from stages.core.model_folder import describe


def open_runner(folder: Path, threads: int) -> Runner:
    """Open model.xml in `folder` on the CPU. Everything but int8 runs in float32, even where bfloat16 is faster."""
    description = describe(folder)
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # the file may be replaced while this runs
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.read_model(folder / "model.xml")
    names = {one.get_any_name() for one in model.inputs}
    request, alone = core.compile_model(model, "CPU", settings).create_infer_request(), threading.Lock()

    def run(*inputs: np.ndarray) -> np.ndarray:
        with alone:  # a request has one memory for what goes in and comes out, which threads would overwrite
            return np.array(request.infer(only_taken(names, inputs), share_inputs=True)[0])

    return runner_of(folder, description, run)
