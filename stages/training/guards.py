"""Guards that stop a training run that cannot end well, with a message that says what to change."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from stages.core.lacks import LACKS, LACKS_OF_KINDS
from stages.core.params.training import TrainingParams
from stages.training.processes import world_size

RUNAWAY = 2.0  # times the loss of the first step, or of guessing, whichever is more,
WINDOWS = 3  # consecutive ones
IDLE_STEPS = 100  # without an update: a loss scale comes down from 2**16 in fewer
OUT_OF_MEMORY = re.compile("allocate memory|out of memory|ALLOC_FAILED|bad_alloc")  # by torch, CUDA, cuBLAS, C++
NO_UPDATE = (
    "no update was made in many steps: gradients overflow, however low the loss scale is."
    " Set precision to bf16 or fp32, or lower the learning rates."
)


@dataclass
class LossWatch:
    """Watches the loss in windows of steps, and the number of updates; kept in checkpoints."""

    guess: float  # the loss of a model that knows nothing
    first: float | None = None  # the loss of the first step, before anything was learned
    higher: int = 0  # windows in a row that were far above it
    updates: int = 0  # optimizer steps that changed the weights
    updated: int = 0  # the step up to which there were some

    def begin(self, loss: float) -> None:
        """Take the loss of a step; only that of the first one is kept."""
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

    def count(self, updates: int, step: int, title: str) -> None:
        """Take the number of updates up to a step. Raises ValueError where there are no more."""
        if updates != self.updates:
            self.updates, self.updated = updates, step
        elif step - self.updated >= IDLE_STEPS:
            raise ValueError(f"{title}: {NO_UPDATE}")


def check_weights(weights: Mapping[str, torch.Tensor], title: str) -> None:
    """Raises ValueError where weights that would be kept are not finite: after the last step no loss shows it."""
    if broken := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(
            f"{title}: weights are not finite numbers ({broken[0]} and {len(broken) - 1} more)."
            " Lower the learning rates, or set precision to fp32."
        )


def check_finite(loss: float, step: int, row_ids: Sequence[str], title: str) -> None:
    """Raises ValueError, with the step and the first rows, where the loss of a step is not a number."""
    if not math.isfinite(loss):
        raise ValueError(
            f"{title}: the loss is {loss} at step {step}, in the batch of rows {', '.join(row_ids[:5])}, ..."
            " Lower the learning rates, or set precision to fp32."
        )


@contextlib.contextmanager
def memory_is_enough(params: TrainingParams, *, kind: str = "", whole_batch: bool = False) -> Iterator[None]:
    """Raises ValueError, with what to lower, where memory runs out inside.

    `kind` of model, as its config.json calls it; `whole_batch`: whether rows are compared with the others of a batch.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        remedies = ", or ".join(_remedies(params, kind, whole_batch))
        raise ValueError(
            f"training: out of memory with batch_size {params.batch_size}. Set {remedies}; or lower"
            " tokenize.max_tokens."
        ) from error


def _remedies(params: TrainingParams, kind: str, whole_batch: bool) -> Iterator[str]:
    if params.batch_size % 2 == 0:
        halves = f"batch_size {params.batch_size // 2} with accumulation_steps {params.accumulation_steps * 2}"
        yield f"{halves} ({'each row is compared with half as many others' if whole_batch else 'the same updates'})"
    elif params.batch_size > 1:
        yield f"batch_size {params.batch_size // 2}"
    lacks = LACKS.get(getattr(params, "family", ""), frozenset()) | LACKS_OF_KINDS.get(kind, frozenset())
    if not params.activation_checkpointing and "activation_checkpointing" not in lacks:
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
        raise ValueError(f"training: {NO_UPDATE}") from error
