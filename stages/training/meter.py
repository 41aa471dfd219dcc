"""The speed of a training run on this machine: tokens a second, memory, and the share of the hardware's peak (MFU)."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stages.core.machine import processor
from stages.training.processes import greatest, rank, world_size

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
COUNTED_TOKENS = 64  # of the longer row whose operations are counted: the law is the same for any length
Cost = Callable[[np.ndarray], float]
"""cost(lengths_N): floating-point operations, forward and backward, for rows of these lengths in tokens."""


def cost_of_rows(model: nn.Module, max_tokens: int, *, decoded: bool = False, image_size: int | None = None) -> Cost:
    """The cost of training rows, by torch's own count of operations of `model`, which takes ids and mask.

    With `decoded` it takes the inputs of its decoder too, and half of a row's tokens count as these; with `image_size`
    an image of so many pixels a side beside each row, which costs the same whatever the row's length.

    Matrix products grow with a row's length, attention with its square; two lengths determine both. Padding, and
    activations that are made twice, are not counted: they are no use. Frozen weights need no gradients of theirs.
    """
    longest = min(max_tokens, COUNTED_TOKENS)
    lengths = (longest // 2, longest)
    counted = [_count(model, length, decoded=decoded) for length in lengths]
    of_image = 0 if image_size is None else _count(model, longest, decoded=decoded, size=image_size) - counted[1]
    linear, quadratic = np.linalg.solve([[length, length**2] for length in lengths], counted)

    def cost(lengths_N: np.ndarray) -> float:
        of_tokens = linear * lengths_N.sum() + quadratic * (lengths_N.astype(np.float64) ** 2).sum()
        return float(of_tokens + of_image * len(lengths_N))

    return cost


def _count(model: nn.Module, length: int, *, decoded: bool, size: int | None = None) -> int:
    """The operations for one row, counted on the CPU. The model is left unchanged."""
    ids_BT = torch.zeros((1, length // 2 if decoded else length), dtype=torch.int64)
    pixels = [] if size is None else [torch.zeros((1, size, size, 3), dtype=torch.uint8)]
    inputs = (ids_BT, torch.ones_like(ids_BT), *([ids_BT] if decoded else []), *pixels)
    was_training = model.training
    model.eval()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
        warnings.simplefilter("ignore")  # of a setting for GPUs that oneDNN's flags bring along
        with torch.backends.mkldnn.flags(enabled=False):  # its LSTM is one operator, of which torch counts nothing
            put_out = model(*inputs).sum()
            if put_out.requires_grad:  # not of a part that is all frozen
                put_out.backward()
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return int(counter.get_total_flops())


PEAK_SECONDS = 2.0


def matrix_peak(precision: str, device: torch.device) -> float:
    """Floating-point operations a second of the fastest product of square matrices, measured here; about 0.2 s.

    A slow precision on a CPU, as fp16 without units for it, is measured with fewer or smaller products.
    """
    best, begun = 0.0, time.perf_counter()
    for size in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        left = torch.randn(size, size, device=device).to(DTYPES[precision])
        right = torch.randn(size, size, device=device).to(DTYPES[precision])
        for _ in range(4):
            _wait(device)
            started = time.perf_counter()
            left @ right
            _wait(device)
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
            if device.type == "cpu" and time.perf_counter() - begun > PEAK_SECONDS:
                return best
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_mb(device: torch.device) -> float:
    """The peak memory of this process: on a GPU torch's allocations there, else its resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


COUNTED = ("tokens", "operations", "seconds")


@dataclass
class Meter:
    """Counts the tokens learned and the time for them, without validation and checkpoints.

    `total_tokens`: of the whole run, if it does not stop early.
    """

    cost: Cost
    device: torch.device
    precision: str
    total_tokens: int
    tokens: int = 0
    operations: float = 0.0
    seconds: float = 0.0
    _since: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter() - self._since
        self._since = time.perf_counter()

    def take(self, lengths: np.ndarray) -> None:
        """Count rows of these lengths in tokens as learned."""
        self.tokens += int(lengths.sum())
        self.operations += self.cost(lengths)

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float:
        return max(0, self.total_tokens - self.tokens) / max(self.tokens_per_second, 1e-9)

    def state(self) -> dict[str, float]:
        """The counts with which a resumed run starts."""
        return {name: getattr(self, name) for name in COUNTED}

    def restore(self, state: Mapping[str, float]) -> None:
        """Restore the result of `state`."""
        for name in COUNTED:
            setattr(self, name, state[name])

    def report(self) -> dict[str, Any]:
        """The speed, memory and efficiency of this run on this hardware. Every process must call it."""
        memory = greatest(peak_memory_mb(self.device), self.device)
        peak = matrix_peak(self.precision, self.device) * world_size() if rank() == 0 else 0.0
        gpu = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None
        return {
            "hardware": gpu or processor(),
            "processes": world_size(),
            "precision": self.precision,
            "train_seconds": round(self.seconds, 1),
            "tokens_per_second": round(self.tokens_per_second),
            "achieved_gflops": round(self.operations / max(self.seconds, 1e-9) / 1e9, 1),
            "matrix_peak_gflops": round(peak / 1e9, 1),
            "mfu": round(self.operations / max(self.seconds, 1e-9) / peak, 4) if peak else 0.0,
            "peak_memory_mb_per_process": round(memory, 1),
        }


class StepLog:
    """Log of JSON lines, one for each point, for programs that watch: `file`, written live by the first process."""

    def __init__(self, file: Path, *, after: int, validated: bool) -> None:
        """Open the log; a run resumed after step `after` keeps the lines up to it, and its validation if done."""
        self._file = file if rank() == 0 else None
        if self._file is None:
            return
        kept = []
        if after and file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step(line) < after + (validated or "validation" not in line)]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, step: int, **values: Any) -> None:
        """Write one line: the step, and the values."""
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line that was cut off
