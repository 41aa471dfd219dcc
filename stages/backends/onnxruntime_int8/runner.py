"""Runs a quantized model with ONNX Runtime and tokenizers alone: nothing else is imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from stages.backends.batching import only_taken, runner_of
from stages.backends.onnxruntime_int8.writing.stepper import GraphStepper, open_sessions
from stages.backends.writing import Backed, writing_runner
from stages.core.contracts import Runner
from stages.core.model_folder import describe, reads_images


def open_runner(folder: Path, threads: int) -> Runner:
    """Open the graphs in `folder` on the CPU, with `threads` threads, or as many as model.json allows."""
    description = describe(folder)
    allowed = min(threads, description.get("most_threads", threads))
    if "writing" in description:
        return writing_runner(folder, description, _backed(folder, allowed))
    session = _opened(folder / "model.onnx", allowed)
    of_images = _opened(folder / "images.onnx", allowed) if reads_images(description) else None
    names = {one.name for one in session.get_inputs()}

    def run(*inputs: np.ndarray) -> np.ndarray:
        return session.run(["logits"], only_taken(names, inputs))[0]

    def run_images(pixels: np.ndarray) -> np.ndarray:
        assert of_images is not None
        return of_images.run(["logits"], {"pixel_values": pixels})[0]

    return runner_of(folder, description, run, run_images if of_images is not None else None)


def _opened(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _backed(folder: Path, threads: int) -> Backed:
    """The graphs of a model that writes."""
    sessions = open_sessions(folder, threads)

    def run(input_ids: np.ndarray, _attention_mask: np.ndarray, *written: np.ndarray) -> np.ndarray:
        """Rows of one length -> logits (B, T, V); where a source is read apart, of what is written (`written`)."""
        stepper = GraphStepper(sessions)
        return stepper.score(written[0], input_ids) if written else stepper.score(input_ids, None)

    return Backed(open=lambda: GraphStepper(sessions), run=run)
