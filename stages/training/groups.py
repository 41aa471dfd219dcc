"""Groups of weights: those that are trained, each with its peak learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from stages.core.contracts import Parts
from stages.core.params.training import TrainingParams


def freeze(parts: Parts, params: TrainingParams) -> None:
    """Freeze the parts that are not to be trained. Raises ValueError where that is more layers than there are."""
    if params.freeze_embeddings:
        parts.embeddings.requires_grad_(False)
    if params.freeze_layers > len(parts.layers):
        raise ValueError(
            f"params.yaml: freeze_layers is {params.freeze_layers}. Allowed: 0 to {len(parts.layers)}, as the model has"
            f" {len(parts.layers)} layers that can be told apart."
        )
    for layer in parts.layers[: params.freeze_layers]:
        layer.requires_grad_(False)


def parameter_groups(parts: Parts, params: TrainingParams) -> list[dict[str, Any]]:
    """AdamW's groups, with `peak`, the rate that the schedule scales.

    The head has its own rate. The encoder's highest layer has the encoder's; each below it that of the one above times
    `layer_decay`; the rest of the encoder (embeddings) that of a layer below the lowest. Vectors (biases, norms) have
    no weight decay. Layers of one rate are one group.
    """
    depth = {id(p): level for level, layer in enumerate(reversed(parts.layers)) for p in layer.parameters()}
    named: dict[tuple[str, float], list[nn.Parameter]] = {}
    for parameter in parts.encoder.parameters():
        level = depth.get(id(parameter), len(parts.layers))
        rate = params.encoder_learning_rate * params.layer_decay**level
        named.setdefault(("encoder", rate), []).append(parameter)
    named[("head", params.head_learning_rate)] = list(parts.head.parameters())
    groups = []
    for (name, rate), parameters in named.items():
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        groups.append(_group(name, [p for p in trained if p.ndim > 1], rate, params.weight_decay))
        groups.append(_group(f"{name}-vectors", [p for p in trained if p.ndim <= 1], rate, 0.0))
    return [group for group in groups if group["params"]]


def _group(name: str, parameters: Sequence[nn.Parameter], rate: float, weight_decay: float) -> dict[str, Any]:
    return {"name": name, "params": parameters, "lr": rate, "peak": rate, "weight_decay": weight_decay}
