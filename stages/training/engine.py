"""A model on a DeepSpeed engine: ZeRO, mixed precision, clipping, accumulation and the optimizer's groups."""

from __future__ import annotations

import itertools
import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stages.core import machine
from stages.core.contracts import Parts
from stages.core.params.training import FinetuneParams, TrainingParams
from stages.training.groups import freeze, parameter_groups
from stages.training.meter import Cost, cost_of_rows
from stages.training.processes import join, rank, world_size
from stages.training.schedules import factor

if torch.cuda.is_available():
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS is not deterministic
else:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before deepspeed is imported: it looks for one then
os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")

import deepspeed
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)

logging.getLogger("DeepSpeed").setLevel(logging.WARNING)

MOMENTS = ("exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight
BUCKET = 20_000_000  # numbers that are sent at once; DeepSpeed's own default holds 2 GB for them
SCALER = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")  # what the dynamic loss scale consists of
COUNTERS = ("global_steps", "global_samples", "micro_steps", "skipped_steps")


@dataclass(frozen=True)
class Engine:
    """A DeepSpeed engine, and what it runs on."""

    deepspeed: Any
    device: torch.device
    precision: str  # fp16, bf16 or fp32: what is really used
    params: TrainingParams
    total_steps: int
    frozen: Mapping[str, torch.Tensor]  # the weights that are not trained, as they were before any rounding
    cost: Cost

    @property
    def zero_stage(self) -> int:
        return self.params.zero_stage

    @property
    def updates(self) -> int:
        """The number of optimizer steps that changed the weights: the loss scaler skips those that overflow."""
        return int(self.deepspeed.global_steps - self.deepspeed.skipped_steps)

    def set_learning_rates(self, step: int) -> None:
        """Set the rates of optimizer step `step`, counted from 0."""
        warmup_steps = round(self.params.warmup_ratio * self.total_steps)
        scale = factor(self.params.schedule, step, warmup_steps=warmup_steps, total_steps=self.total_steps)
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = group["peak"] * scale

    @property
    def learning_rate(self) -> float:
        """The highest rate of the encoder's weights, or of the head's where that alone is trained."""
        groups = self.deepspeed.optimizer.param_groups
        return max(group["lr"] for group in [g for g in groups if g["name"].startswith("encoder")] or groups)

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the model's weights on the CPU, in float32: whole under ZeRO-3, unrounded under fp16 and bf16.

        Every process must call it: the others send their shards.
        """
        module = self.deepspeed.module
        with deepspeed.zero.GatheredParameters(list(module.parameters()), enabled=self.zero_stage == 3):
            weights = {name: _copy(tensor) for name, tensor in module.state_dict().items()}
        for name, parameter, master in self._trained():
            weights[name] = _copy(safe_get_full_fp32_param(parameter) if master is None else master)
        return {**weights, **self.frozen}

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The state with which a later run can continue, as tensors on the CPU and as JSON.

        It does not depend on the ZeRO stage or the number of processes. Every process must call it.
        """
        self._link_moments()
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter, master in self._trained():
            tensors[f"weight.{name}"] = _copy(safe_get_full_fp32_param(parameter) if master is None else master)
            for key in MOMENTS:
                found = (
                    safe_get_full_optimizer_state(parameter, key) if master is None else self._adam.state[master][key]
                )
                tensors[f"{key}.{name}"] = _copy(found)
        scaler = {name: getattr(self._scaler, name) for name in SCALER if hasattr(self._scaler, name)}
        return tensors, {"scaler": scaler, **{name: getattr(self.deepspeed, name) for name in COUNTERS}}

    def restore(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
        """Restore the result of `state`, perhaps with another number of processes or another ZeRO stage.

        At least one step must have been made before, since AdamW makes its moments in that.
        """
        self._link_moments()
        for name, parameter, master in self._trained():
            weight = tensors[f"weight.{name}"].to(self.device)
            moments = {key: tensors[f"{key}.{name}"].to(self.device) for key in MOMENTS}
            self._restore_one(parameter, master, weight, moments)
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0, enabled=self.zero_stage == 3):
                parameter.data.copy_(weight)
        for state in self._adam.state.values():
            if "step" in state:
                state["step"].fill_(numbers["global_steps"] - numbers["skipped_steps"])
        for name, value in numbers["scaler"].items():
            setattr(self._scaler, name, value)
        for name in COUNTERS:
            setattr(self.deepspeed, name, numbers[name])

    def _restore_one(
        self, parameter: nn.Parameter, master: torch.Tensor | None, weight: torch.Tensor, moments: Mapping[str, Any]
    ) -> None:
        if master is not None:
            master.data.copy_(weight)
            for key, moment in moments.items():
                self._adam.state[master][key].copy_(moment)
        elif self.zero_stage == 3:  # DeepSpeed's own way to set a whole tensor fails where processes do not divide it
            safe_set_local_fp32_param(parameter, _own_part(weight, parameter))
            for key, moment in moments.items():
                safe_set_local_optimizer_state(parameter, _own_part(moment, parameter), key)
        else:
            safe_set_full_fp32_param(parameter, weight)
            for key, moment in moments.items():
                safe_set_full_optimizer_state(parameter, moment, key)

    def _link_moments(self) -> None:
        """Link the moments again: DeepSpeed 0.19 does it after the first group's first step, before the others'."""
        if self.zero_stage in (1, 2):
            optimizer = self.deepspeed.optimizer
            optimizer._hp_optimizer_states_linked = False
            optimizer._lazy_init_hp_params_optimizer_state()

    @property
    def _adam(self) -> Any:
        """The AdamW optimizer itself, which DeepSpeed may have wrapped."""
        optimizer = self.deepspeed.optimizer
        return getattr(optimizer, "optimizer", optimizer)

    @property
    def _scaler(self) -> Any:
        optimizer = self.deepspeed.optimizer
        return getattr(optimizer, "loss_scale_config", None) or getattr(optimizer, "loss_scaler", None)

    def _trained(self) -> Iterator[tuple[str, nn.Parameter, torch.Tensor | None]]:
        """Each trained weight with its name and float32 master; None where DeepSpeed has sharded the masters."""
        masters = self._masters()
        for name, parameter in self.deepspeed.module.named_parameters():
            if parameter.requires_grad:
                yield name, parameter, masters.get(id(parameter), parameter) if self.zero_stage == 0 else None

    def _masters(self) -> dict[int, torch.Tensor]:
        """float32 copies that fp16 without ZeRO keeps, by the id of their float16 parameter."""
        optimizer = self.deepspeed.optimizer
        halves, masters = getattr(optimizer, "fp16_groups", []), getattr(optimizer, "fp32_groups", [])
        matches = zip(itertools.chain.from_iterable(halves), itertools.chain.from_iterable(masters), strict=True)
        return {id(half): master for half, master in matches} if self.zero_stage == 0 else {}


def _own_part(tensor: torch.Tensor, parameter: Any) -> torch.Tensor:
    """This process's part of `tensor` in ZeRO-3: flat, and in the last process padded with zeros."""
    size = parameter.ds_tensor.numel()
    filled = torch.zeros(size * world_size(), dtype=tensor.dtype, device=tensor.device)
    filled[: tensor.numel()] = tensor.flatten()
    return filled.narrow(0, rank() * size, size)


def _undo_first_step(optimizer: Any) -> None:
    """Undo the step without gradients, which counts and decays, that DeepSpeed makes first in fp16 without ZeRO."""
    for state in optimizer.optimizer.state.values():
        state["step"].zero_()
    for halves, masters in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
        for half, master in zip(halves, masters, strict=True):
            master.data.copy_(half.data)


def _copy(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor.detach().float().cpu().clone()


def resolve_precision(precision: str) -> str:
    """The precision for `auto`: fp16 on a GPU, bf16 on a CPU whose bf16 products are faster, else fp32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "fp16"
    return "bf16" if _fast_bf16() else "fp32"


def _fast_bf16() -> bool:
    """Whether this CPU has AMX, or AMD's AVX512-BF16: an EPYC's matrix products ran at four times their fp32 speed.

    On an Intel CPU with AVX512-BF16 but no AMX they ran at half. It is looked up, never timed: a result must not depend
    on how busy the machine was.
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    return torch.cpu._is_avx512_bf16_supported() and machine.vendor() == "AuthenticAMD"


def start_engine(
    model: nn.Module,
    parts: Parts,
    params: TrainingParams,
    total_steps: int,
    max_tokens: int,
    *,
    decoded: bool = False,
    image_size: int | None = None,
) -> Engine:
    """Put `model` on a DeepSpeed engine, for `total_steps` optimizer steps, in every process of this run.

    `decoded`: whether it reads a source apart from what it writes; `image_size`: the pixels a side of the images that
    it reads beside texts.

    Raises ValueError for fp16 on a device that does not have it, and where nothing is left to train.
    """
    precision = resolve_precision(params.precision)
    section = "finetune" if isinstance(params, FinetuneParams) else "distill"
    if precision == "fp16" and not deepspeed.get_accelerator().is_fp16_supported():
        raise ValueError(
            f"params.yaml: {section}.precision is 'fp16', in which this device does not train. Allowed here: auto,"
            " bf16, fp32."
        )
    join()
    freeze(parts, params)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(
            f"params.yaml: {section}.freeze_layers is {params.freeze_layers}, and {section}.freeze_embeddings true:"
            f" nothing is left to train, as the head has no weights. Allowed: 0 to {params.freeze_layers - 1}."
        )
    cost = cost_of_rows(model, max_tokens, decoded=decoded, image_size=image_size)
    frozen = {name: p.detach().cpu().clone() for name, p in model.named_parameters() if not p.requires_grad}
    if params.activation_checkpointing:
        _checkpoint_activations(parts)
    if torch.cuda.is_available():
        _fuse_attention(parts.encoder)
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW(parameter_groups(parts, params), fused=params.offload == "none"),
        config=deepspeed_config(params, precision, sum(p.numel() for p in model.parameters())),
    )
    if precision == "fp16" and params.zero_stage == 0:
        _undo_first_step(engine.optimizer)
    if params.zero_stage == 0 and world_size() == 1:
        engine.enable_backward_allreduce = False  # there is nobody to add gradients up with; it copies all of them
    if params.compile:
        engine.compile(compile_kwargs={"dynamic": True})
    return Engine(engine, engine.device, precision, params, total_steps, frozen, cost)


def _fuse_attention(encoder: Any) -> None:
    """Use flash attention or its like, through torch; on a CPU, with short rows, it is no faster."""
    if getattr(encoder, "_supports_sdpa", False):  # DeBERTa's, say, is its own
        encoder.set_attn_implementation("sdpa")


def _checkpoint_activations(parts: Parts) -> None:
    encoder: Any = parts.encoder
    if not getattr(encoder, "supports_gradient_checkpointing", False):
        raise ValueError(
            "params.yaml: activation_checkpointing is true, which models of this family cannot. Allowed: false."
        )
    encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def deepspeed_config(params: TrainingParams, precision: str, weights: int) -> dict[str, Any]:
    """DeepSpeed's own configuration for `params` and a model with this number of `weights`.

    The loop weights each batch by its rows, whatever the counts here.
    """
    bucket = 2 * math.ceil(min(weights, BUCKET) / 2)  # DeepSpeed wants it even
    zero: dict[str, Any] = {
        "stage": params.zero_stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket
    }  # fmt: skip
    if params.zero_stage == 3:
        zero |= {"sub_group_size": bucket, "stage3_prefetch_bucket_size": bucket, "stage3_max_live_parameters": bucket,
                 "stage3_max_reuse_distance": bucket}  # fmt: skip
    if params.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if params.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": max(1, params.batch_size // world_size()),
        "gradient_accumulation_steps": params.accumulation_steps,
        "gradient_clipping": params.max_gradient_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31,
    }
    if precision == "fp16":
        config["fp16"] = {"enabled": True}
    elif precision == "bf16" and params.zero_stage == 0:
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    elif precision == "bf16":
        config["bf16"] = {"enabled": True}
    return config
