"""A model on a DeepSpeed engine: ZeRO, mixed precision, clipping, accumulation and the optimizer's groups."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stages.params import TrainingParams

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before deepspeed is imported: it looks for one then
os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")

import deepspeed

logging.getLogger("DeepSpeed").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Engine:
    """A DeepSpeed engine, and what it runs on."""

    deepspeed: Any
    device: torch.device
    precision: str  # fp16, bf16 or fp32: what is really used
    zero_stage: int

    frozen: Mapping[str, torch.Tensor]  # the weights that are not trained, as they were before any rounding

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the model's weights on the CPU, in float32: whole under ZeRO-3, unrounded under fp16 and bf16."""
        module = self.deepspeed.module
        with deepspeed.zero.GatheredParameters(list(module.parameters()), enabled=self.zero_stage == 3):
            weights = {name: tensor.detach().float().cpu().clone() for name, tensor in module.state_dict().items()}
        masters = self._masters()
        for name, parameter in module.named_parameters():
            master = masters.get(id(parameter))
            if master is None and self.zero_stage > 0 and parameter.requires_grad:
                master = deepspeed.utils.safe_get_full_fp32_param(parameter)
            if master is not None:
                weights[name] = master.detach().float().cpu().clone()
        return {**weights, **self.frozen}

    def _masters(self) -> dict[int, torch.Tensor]:
        """float32 copies that fp16 without ZeRO keeps, by the id of their float16 parameter."""
        if self.zero_stage > 0:  # there the masters are sharded, and DeepSpeed gathers them
            return {}
        optimizer = self.deepspeed.optimizer
        halves, masters = getattr(optimizer, "fp16_groups", []), getattr(optimizer, "fp32_groups", [])
        pairs = zip(itertools.chain.from_iterable(halves), itertools.chain.from_iterable(masters), strict=True)
        return {id(half): master for half, master in pairs}


def resolve_precision(precision: str) -> str:
    """`auto` becomes fp16 on a GPU, bf16 on a CPU with bf16 matrix units (AMX), else fp32.

    AVX512-BF16 alone does not count: without AMX, torch's bf16 matrix products ran at half the speed of fp32.
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "fp16"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def start_engine(model: nn.Module, parts: Mapping[str, nn.Module], params: TrainingParams, total_steps: int) -> Engine:
    """Put `model` on a DeepSpeed engine whose learning rates rise and fall over `total_steps` optimizer steps."""
    _join_process_group()
    if params.freeze_embeddings:
        parts["embeddings"].requires_grad_(False)
    precision = resolve_precision(params.precision)
    frozen = {name: p.detach().cpu().clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW(parameter_groups(parts, params), fused=params.zero_stage == 0)
    schedule = warmup_then_linear_decay(warmup_steps=round(params.warmup_ratio * total_steps), total_steps=total_steps)
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=optimizer,
        lr_scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, schedule),
        config=deepspeed_config(params, precision),
    )
    return Engine(engine, engine.device, precision, params.zero_stage, frozen)


def parameter_groups(parts: Mapping[str, nn.Module], params: TrainingParams) -> list[dict[str, Any]]:
    """AdamW's groups: encoder and head have their own rate; vectors (biases, norms) have no weight decay."""
    rates = {"encoder": params.encoder_learning_rate, "head": params.head_learning_rate}
    groups = []
    for part, rate in rates.items():
        trained = [parameter for parameter in parts[part].parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        groups.append({"name": part, "params": matrices, "lr": rate, "weight_decay": params.weight_decay})
        groups.append({"name": f"{part}-vectors", "params": vectors, "lr": rate, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def warmup_then_linear_decay(*, warmup_steps: int, total_steps: int) -> Callable[[int], float]:
    """The factor on the peak learning rate at each step: up from zero over the warmup, then down to zero."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))

    return factor


def deepspeed_config(params: TrainingParams, precision: str) -> dict[str, Any]:
    """DeepSpeed's own configuration for `params`."""
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": params.batch_size,
        "gradient_accumulation_steps": params.accumulation_steps,
        "gradient_clipping": params.max_gradient_norm,
        "zero_optimization": {"stage": params.zero_stage},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31,
    }
    if precision == "fp16":
        config["fp16"] = {"enabled": True}
    elif precision == "bf16" and params.zero_stage == 0:
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    elif precision == "bf16":
        config["bf16"] = {"enabled": True}
    return config


def _join_process_group() -> None:
    """One process needs no launcher, no port and no compiled shared-memory op: its group is itself."""
    if torch.distributed.is_initialized():
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "training: WORLD_SIZE is more than 1. Allowed: one process, as yet; start the stage by itself."
        )
    os.environ.update({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    vars(deepspeed.ops)["__compatible_ops__"] = {}  # else it compiles an op for talking to other processes
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend)
