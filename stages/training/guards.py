"""What stops a training run that cannot end well, with a message that says what to change."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from stages.params import TrainingParams
from stages.training.processes import world_size

RUNAWAY = 2.0  # times the loss of the first step, or of guessing, whichever is more,
WINDOWS = 3  # in so many windows in a row


@dataclass
class LossWatch:
    """The loss in windows of steps; kept in checkpoints."""

    guess: float  # the loss of who guesses among the labels, in nats
    first: float | None = None  # the loss of the first step, before anything was learned
    higher: int = 0  # windows in a row that were far above it

    def begin(self, loss: float) -> None:
        """Take the loss of a step; that of the first one counts."""
        self.first = loss if self.first is None else self.first

    def look(self, mean: float, title: str) -> None:
        """Take the mean of one more window. Raises ValueError where the loss has run away."""
        start = max(self.first or 0.0, self.guess)
        self.higher = self.higher + 1 if mean > RUNAWAY * start else 0
        if self.higher >= WINDOWS:
            raise ValueError(
                f"{title}: the loss has run away, from {start:.3g} to {mean:.3g}. Lower the learning rates, raise"
                " warmup_ratio, or lower max_gradient_norm."
            )


def check_finite(loss: float, step: int, row_ids: Sequence[str], title: str) -> None:
    """Raises ValueError, with the step and the first rows, where the loss of a step is not a number."""
    if not math.isfinite(loss):
        raise ValueError(
            f"{title}: the loss is {loss} at step {step}, in the batch of rows {', '.join(row_ids[:5])}, ..."
            " Lower the learning rates, or set precision to fp32."
        )


@contextlib.contextmanager
def memory_is_enough(params: TrainingParams) -> Iterator[None]:
    """Raises ValueError, with what to lower, where memory runs out inside."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate memory" not in str(error):
            raise
        raise ValueError(
            f"training: out of memory with batch_size {params.batch_size}. Set {', or '.join(_remedies(params))}; or"
            " lower tokenize.max_tokens."
        ) from error


def _remedies(params: TrainingParams) -> Iterator[str]:
    if params.batch_size % 2 == 0:
        halves = f"batch_size {params.batch_size // 2} with accumulation_steps {params.accumulation_steps * 2}"
        yield f"{halves} (the same updates)"
    elif params.batch_size > 1:
        yield f"batch_size {params.batch_size // 2}"
    if not params.activation_checkpointing:
        yield "activation_checkpointing: true"
    if world_size() > 1 and params.zero_stage < 3:
        yield f"zero_stage {params.zero_stage + 1}"
    if torch.cuda.is_available() and params.offload == "none":
        yield "offload: optimizer (with zero_stage 1 or more)"
    yield "a smaller model"


@contextlib.contextmanager
def loss_scale_is_found() -> Iterator[None]:
    """Raises ValueError, with what to change, where gradients overflow in fp16 however low the loss scale is."""
    try:
        yield
    except Exception as error:  # DeepSpeed raises no other
        if "loss scale already at minimum" not in str(error):
            raise
        raise ValueError(
            "training: no update was made in many steps: gradients overflow, though the loss scale is at its minimum."
            " Set precision to bf16 or fp32, or lower the learning rates."
        ) from error
