"""Groups of weights: those that are trained, each with its peak learning rate and weight decay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from stages.core.contracts import Parts
from stages.core.params.training import TrainingParams

SMALLEST_SCALE = 1e-3  # of a weight that is 0 at first, which would never move: Shazeer and Stern 2018, section 8


def freeze(parts: Parts, params: TrainingParams) -> None:
    """Freeze the parts that are not to be trained: all of the encoder, where its embeddings and all layers are named.

    Raises ValueError where that is more layers than there are.
    """
    if params.freeze_embeddings:
        parts.embeddings.requires_grad_(False)
    if params.freeze_layers > len(parts.layers):
        raise ValueError(
            f"params.yaml: freeze_layers is {params.freeze_layers}. Allowed: 0 to {len(parts.layers)}, as the model has"
            f" {len(parts.layers)} layers that can be told apart."
        )
    for layer in parts.layers[: params.freeze_layers]:
        layer.requires_grad_(False)
    if params.freeze_embeddings and parts.layers and params.freeze_layers == len(parts.layers):
        parts.encoder.requires_grad_(False)  # positions and norms too


def parameter_groups(parts: Parts, params: TrainingParams) -> list[dict[str, Any]]:
    """AdamW's groups, with `peak`, the rate that the schedule scales.

    The head has its own rate. The encoder's highest layer, and what is above it, has the encoder's; each below it that
    of the one above times `layer_decay`; the rest of the encoder (embeddings) that of a layer below the lowest. With
    `scaled_rates` each rate is times the `scale` of its weight. Vectors (biases, norms) have no weight decay. Weights
    of one rate are one group.
    """
    stacks = parts.beside or (parts.layers,)
    lowest = max(map(len, stacks))  # of what is in no layer; embeddings are below the first stack
    depth = {id(p): 0 for module in parts.above for p in module.parameters()}
    leveled = [of for stack in stacks for of in enumerate(reversed(stack))]
    depth |= {id(p): level for level, layer in leveled for p in layer.parameters()}
    depth |= {id(p): len(stacks[0]) for p in parts.embeddings.parameters()}  # also where they make the logits
    named: dict[tuple[str, float], list[nn.Parameter]] = {}
    for name, module in (("encoder", parts.encoder), ("head", parts.head)):
        for parameter in module.parameters():
            if name == "head":
                rate = params.head_learning_rate
            else:
                level = depth.get(id(parameter), lowest)
                rate = params.encoder_learning_rate * params.layer_decay**level
            rate *= scale(parameter) if params.scaled_rates else 1.0
            named.setdefault((name, rate), []).append(parameter)
    groups = []
    for (name, rate), parameters in named.items():
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        groups.append(_group(name, [p for p in trained if p.ndim > 1], rate, params.weight_decay))
        groups.append(_group(f"{name}-vectors", [p for p in trained if p.ndim <= 1], rate, 0.0))
    return [group for group in groups if group["params"]]


def scale(weight: torch.Tensor) -> float:
    """The root mean square of a weight's first values, SMALLEST_SCALE at least, to the nearest half of a power of 2.

    A model whose weights begin at different scales (T5's queries near 0.01, its embeddings at 1) so has each of them
    changed by about the same share of itself: Shazeer and Stern 2018, arXiv:1804.04235, section 8. Rounded, many
    weights share a rate, and so a group.
    """
    root = weight.detach().float().square().mean().sqrt().item()
    return float(2 ** (round(2 * math.log2(max(root, SMALLEST_SCALE))) / 2))


def _group(name: str, parameters: Sequence[nn.Parameter], rate: float, weight_decay: float) -> dict[str, Any]:
    return {"name": name, "params": parameters, "lr": rate, "peak": rate, "weight_decay": weight_decay}
