"""Quantizes a model to int8 for ONNX Runtime: weights, embeddings, and activations with fixed or dynamic ranges."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from safetensors.numpy import load_file

from stages.backends.batching import calibration_inputs, distance_of
from stages.backends.guard import guarded
from stages.backends.onnxruntime_int8 import (
    biased,
    exported,
    graph,
    layouts,
    modern,
    recurrent,
    relative,
    towers,
)
from stages.backends.onnxruntime_int8.ranges import learn
from stages.backends.onnxruntime_int8.runner import open_runner
from stages.backends.onnxruntime_int8.writing import prepared as writing
from stages.core.contracts import Quantizable, QuantizationRows, Text
from stages.core.files import read_json
from stages.core.model_folder import describe
from stages.core.params.compress import QuantizeParams

log = logging.getLogger("winnow")


def quantize(source: Path, folder: Path, params: QuantizeParams, rows: QuantizationRows) -> dict[str, Any]:
    """Write model.onnx (inputs as in INPUTS, (B, T) int64 each; output logits) to `folder`.

    A model that writes has other files and inputs: see the package `writing`; one that reads images has a further file,
    images.onnx: see towers.py. `source` is the folder of a model that PyTorch runs; `folder` holds its tokenizer.json
    and model.json. Returns the result of `guarded`.
    """
    made = prepare(source, params, rows.calibration)
    return guarded(made, folder, backend="onnxruntime_int8", open_runner=open_runner, params=params, rows=rows)


def prepare(source: Path, params: QuantizeParams, texts: Sequence[Text]) -> Quantizable:
    """The model in `source`, written from its weights where its layout is known, otherwise exported by torch."""
    weights, config = load_file(source / "model.safetensors"), read_json(source / "config.json")
    if recurrent.understands(config):
        if params.activations == "static":
            log.info("quantize: an LSTM's activations are dynamic: ONNX Runtime has no LSTM with ranges of its own")
        return recurrent.prepare(weights, config, params)
    if writing.writes(config):
        if params.activations == "static":
            log.info("quantize: a model that writes has dynamic activations, each token with a scale of its own")
        return writing.prepare(weights, config, per_channel=params.per_channel)
    if towers.understands(config):
        return towers.prepare(source, weights, config, params, texts, written)
    known = written(weights, config)
    if known is None:
        if params.activations == "static":
            log.info("quantize: a %s model is exported by torch, with dynamic activations", config["model_type"])
        return exported.prepare(source, params)
    ranges = _ranges(source, known, texts, params.per_channel) if params.activations == "static" else None
    shape = _shape(source)

    def write(folder: Path, kept: Collection[str]) -> None:
        made = known.build(graph.Precision(kept, ranges, params.per_channel), **shape)
        onnx.save(layouts.with_equal_constants_once(made) if known.repeated else made, folder / "model.onnx")

    return Quantizable(matrices=known.matrices, write=write, activations=params.activations)


class Written(NamedTuple):
    """A model whose graph can be written from its weights."""

    matrices: tuple[str, ...]
    build: Callable[..., onnx.ModelProto]
    """build(precision, max_tokens=, pairs=, tapped=): as `graph.build`."""
    repeated: bool = False
    """Whether several layers have the same weights."""


def written(weights: graph.Weights, config: dict[str, Any]) -> Written | None:
    """How the graph of a model is written; None where its layout is not known."""
    for layout in (biased, modern, relative):
        if layout.understands(weights, config):
            return Written(layout.matrices(config), partial(layout.build, weights, config))
    bert = layouts.in_berts_terms(weights, config)
    if bert is None or not graph.understands(bert.weights, bert.config):
        return None
    return Written(graph.matrices(bert.config), partial(graph.build, bert.weights, bert.config), bert.repeated)


def _shape(source: Path) -> dict[str, Any]:
    """The shape of the graph's inputs: the maximum number of tokens, and whether they are pairs."""
    description = describe(source)
    return {"max_tokens": description["max_tokens"], "pairs": description.get("pairs", False)}


def _ranges(source: Path, known: Written, texts: Sequence[Text], per_channel: bool) -> dict[str, graph.Range]:
    """The range of each matrix's input over the calibration texts."""
    shape, description = _shape(source), describe(source)
    as_trained = graph.Precision(known.matrices, None, per_channel)
    return learn(
        known.build(as_trained, **shape, tapped=True),
        lambda ranges: known.build(graph.Precision((), ranges, per_channel), **shape),
        calibration_inputs(texts, source, description),
        distance_of(source, description),
    )
