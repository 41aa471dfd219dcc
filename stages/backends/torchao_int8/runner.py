"""Runs models quantized by torchao, with PyTorch: on the GPU where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from stages.backends.batching import runner_of
from stages.backends.quiet import quiet
from stages.core.contracts import Family, Runner
from stages.core.files import read_json
from stages.core.model_folder import describe, plugin_of
from stages.models import FAMILIES

with quiet():  # it tells of kernels for other numbers than int8
    from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict
    from torchao.utils import TorchAOBaseTensor

LAYOUT = "layout.json"


def open_runner(folder: Path, threads: int) -> Runner:
    """Open the model in `folder`. Matrices stay int8.

    The table of embeddings, of which each text looks up a few rows, is float32 in memory.
    """
    torch.set_num_threads(threads)
    description = describe(folder)
    tensors, rest = unflatten_tensor_state_dict(load_file(folder / "model.safetensors"), read_json(folder / LAYOUT))
    if rest:
        raise ValueError(f"{folder / LAYOUT}: says nothing of {', '.join(sorted(rest))}. Make the folder again.")
    int8 = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, TorchAOBaseTensor)}
    family: Family = plugin_of(folder, "family", FAMILIES)
    model = family.open(folder, tensors | {name: tensor.dequantize() for name, tensor in int8.items()})
    for name, tensor in int8.items():
        module = model.get_submodule(name.removesuffix(".weight"))
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(tensor, requires_grad=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)

    def run(*inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(*(torch.from_numpy(array).to(device) for array in inputs)).float().cpu().numpy()

    return runner_of(folder, description, run)
