"""Quantizes a model to int8 for PyTorch, which runs it on a GPU where there is one: torchao's configurations."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from stages.backends.guard import guarded
from stages.backends.operators import refuse_without_operators
from stages.backends.quiet import quiet
from stages.backends.torchao_int8.runner import LAYOUT, open_runner
from stages.core.contracts import Family, Quantizable, QuantizationRows
from stages.core.files import write_json
from stages.core.model_folder import plugin_of
from stages.core.params.compress import QuantizeParams
from stages.models import FAMILIES

with quiet():  # it tells of kernels for other numbers than int8
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import (
        Int8DynamicActivationInt8WeightConfig,
        IntxWeightOnlyConfig,
        PerAxis,
        PerRow,
        PerTensor,
        quantize_,
    )

log = logging.getLogger("winnow")


def quantize(source: Path, folder: Path, params: QuantizeParams, rows: QuantizationRows) -> dict[str, Any]:
    """Write config.json, model.safetensors and layout.json (how torchao's tensors are made of those there) to `folder`.

    `source` is the folder of a model that PyTorch runs; `folder` holds its tokenizer.json and model.json. Returns the
    result of `guarded`.
    """
    made = prepare(source, params)
    return guarded(made, folder, backend="torchao_int8", open_runner=open_runner, params=params, rows=rows)


def prepare(source: Path, params: QuantizeParams) -> Quantizable:
    """The model in `source`; its matrices have the names of torch's modules. The head stays in float32."""
    refuse_without_operators(source, "torchao_int8")
    if params.activations == "static":
        log.info("quantize: torchao's activations are dynamic, with a range for each token")
    family: Family = plugin_of(source, "family", FAMILIES)
    exact = family.open(source)
    head = set(family.parts(exact).head.modules())
    linear, tables = (
        [name for name, module in exact.named_modules() if isinstance(module, kind) and module not in head]
        for kind in (nn.Linear, nn.Embedding)
    )
    # A scale a token, and a row of weights. 7 bits of both, as torchao has it: processors without VNNI add two products
    # in 16 bits, and cut off what is beyond.
    scales = [PerRow(), PerRow() if params.per_channel else PerTensor()]
    products = Int8DynamicActivationInt8WeightConfig(granularity=scales, reduce_range=True, set_inductor_config=False)
    look_ups = IntxWeightOnlyConfig(granularity=PerAxis(0))

    def write(folder: Path, kept: Collection[str]) -> None:
        model = copy.deepcopy(exact)
        for config, names in ((products, linear), (look_ups, tables)):
            chosen = set(names) - set(kept)
            quantize_(model, config, filter_fn=lambda _, name, chosen=chosen: name in chosen)
        tensors, layout = flatten_tensor_state_dict(model.state_dict())
        save_file(tensors, folder / "model.safetensors")
        write_json(folder / LAYOUT, layout)
        shutil.copyfile(source / "config.json", folder / "config.json")

    return Quantizable(matrices=(*tables, *linear), write=write, activations="dynamic")
