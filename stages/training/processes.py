"""The processes of one training run: one a GPU, as torch elastic or DeepSpeed's launcher starts them; else one."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
from datetime import timedelta

import torch
from torch import distributed

TIMEOUTS = ("default_pg_timeout", "default_pg_nccl_timeout")  # torch's names for how long a group waits


def number_from_environment(name: str, default: float) -> float:
    """The number in an environment variable. Raises ValueError where it is no number above 0."""
    text = os.environ.get(name, str(default))
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise ValueError(f"{name} is '{text}'. Allowed: a number above 0.")


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device() -> torch.device:
    """This process's GPU, where there is one; else the CPU."""
    number = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")


def join() -> None:
    """Join the group of processes; a group of one needs no launcher and no port."""
    if distributed.is_initialized():
        return
    import deepspeed

    if not torch.cuda.is_available():
        # Else it compiles, with g++, an op for talking between processes of one machine. Gloo does that.
        vars(deepspeed.ops)["__compatible_ops__"] = {}
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if world_size() > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # The groups that DeepSpeed makes besides take torch's own: half an hour for gloo.
        for name in TIMEOUTS:
            assert hasattr(distributed.distributed_c10d, name), f"torch has another name for {name}"
            setattr(distributed.distributed_c10d, name, patience())
        deepspeed.init_distributed(dist_backend=backend, timeout=patience(), verbose=False)
        atexit.register(_leave)
        return
    os.environ.update({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend)


def _leave() -> None:
    """Leave the group as the process ends: threads of gloo that still run then would have it aborted."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def patience() -> timedelta:
    """The time that the others wait for a lost process."""
    return timedelta(minutes=number_from_environment("WINNOW_RANK_TIMEOUT_MINUTES", 10))


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum of `value` over all processes; it replaces the value in place."""
    if world_size() > 1:
        distributed.all_reduce(value)
    return value


def gathered(own: torch.Tensor) -> list[torch.Tensor]:
    """The tensors of all processes, (B, ...) each, in the order of the processes; only B may differ. No gradients."""
    sizes = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(world_size())]
    distributed.all_gather(sizes, torch.tensor([len(own)], device=own.device))
    filled = own.new_zeros((max(int(size) for size in sizes), *own.shape[1:]))
    filled[: len(own)] = own.detach()
    found = [torch.empty_like(filled) for _ in range(world_size())]
    distributed.all_gather(found, filled)
    return [one[: int(size)] for one, size in zip(found, sizes, strict=True)]


def greatest(value: float, device: torch.device) -> float:
    """The largest `value` of all processes."""
    if world_size() == 1:
        return value
    told = torch.tensor([value], dtype=torch.float64, device=device)
    distributed.all_reduce(told, distributed.ReduceOp.MAX)
    return float(told.item())


def refuse_differences(digest: str, device: torch.device, what: str) -> None:
    """Raises ValueError, in every process, where one has another `digest`: hexadecimal digits, 16 count."""
    if world_size() == 1:
        return
    own = torch.tensor([int(digest[at : at + 4], 16) for at in range(0, 16, 4)], dtype=torch.int64, device=device)
    told = [torch.zeros_like(own) for _ in range(world_size())]
    distributed.all_gather(told, own)
    others = [str(number) for number, value in enumerate(told) if not torch.equal(value, told[0])]
    if others:
        raise ValueError(f"{what} in process {', '.join(others)} than in process 0.")


def agreed(flag: bool, device: torch.device) -> bool:
    """The flag of the first process, in every process."""
    if world_size() == 1:
        return flag
    told = torch.tensor([int(flag)], device=device)
    distributed.broadcast(told, 0)
    return bool(told.item())
