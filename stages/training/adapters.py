"""LoRA: beside each matrix of a pretrained model, which stays as it is, a product of two narrow ones that are trained.

W becomes W + alpha / rank * B A, with A (rank, in) and B (out, rank), which begins as 0. At the end the product is
added to W, so that nothing else knows of it. Source: Hu et al. 2021, arXiv:2106.09685; the layers are those of peft.
"""

from __future__ import annotations

from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from stages.core.contracts import Parts
from stages.core.params.training import FinetuneParams, LoraParams
from stages.training.groups import freeze


def adapt(parts: Parts, params: FinetuneParams, lora: LoraParams) -> dict[str, int]:
    """Put adapters into a model's encoder, in place, and freeze all of it but them; the head stays as it is.

    The table of tokens, and a layer for logits with weights of its own, are trained where `params.freeze_embeddings` is
    false. Returns how many numbers are trained, and how many the model will have once the adapters are `merged`. The
    caller has set torch's seed. Raises ValueError where lora.targets or lora.rank do not fit the model.
    """
    encoder: Any = parts.encoder
    parameters, output = _count(parts), getattr(encoder, "get_output_embeddings", _none)()
    targets = _targets(encoder, output, lora)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    inject_adapter_in_model(config, encoder)
    if not params.freeze_embeddings:
        for table in (parts.embeddings, output):
            if table is not None:
                table.requires_grad_(True)
    freeze(parts, params)
    return {"trainable_parameters": _count(parts, trainable=True), "parameters": parameters}


def merged(model: nn.Module) -> nn.Module:
    """The model with its adapters' products in its matrices, in place: it has the modules again that it had before.

    Raises ValueError where a matrix is then not finite.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            model.set_submodule(name, module.get_base_layer())
    return model


def _targets(encoder: nn.Module, output: nn.Module | None, lora: LoraParams) -> list[str]:
    """The names of the linear layers that get an adapter: all but that of the logits, or those that `targets` names."""
    linear = {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and module is not output
    }
    last = {name: name.rpartition(".")[2] for name in linear}
    if unknown := set(lora.targets or ()) - set(last.values()):
        raise ValueError(
            f"params.yaml: finetune.lora.targets has '{min(unknown)}'. Allowed: null, or names of the model's linear"
            f" layers: {', '.join(sorted(set(last.values())))}."
        )
    chosen = [name for name in linear if lora.targets is None or last[name] in lora.targets]
    narrowest = min(min(linear[name].in_features, linear[name].out_features) for name in chosen)
    if lora.rank > narrowest:
        raise ValueError(
            f"params.yaml: finetune.lora.rank is {lora.rank}. Allowed: 1 to {narrowest}, the least width of the"
            " matrices."
        )
    return chosen


def _none() -> None:
    """What a model that writes no tokens has for logits, such as the two towers, which are a list of modules."""


def _count(parts: Parts, *, trainable: bool = False) -> int:
    weights = [*parts.encoder.parameters(), *parts.head.parameters()]
    return sum(weight.numel() for weight in weights if weight.requires_grad or not trainable)
