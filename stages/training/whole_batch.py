"""Losses of a batch as one number, and those that hang on the whole batch: of each row among all others, also those of
other processes.

B rows of this process, W of all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from stages.tasks.contract import TaskLearning
from stages.training.processes import gathered, rank, world_size


def mean_of_rows(values_B: torch.Tensor, weights_B: torch.Tensor | None) -> torch.Tensor:
    """The mean of what each example has; with `weights_B`, how many targets each has, the mean over the targets."""
    if weights_B is None:
        return values_B.mean()
    return (values_B * weights_B).sum() / weights_B.sum().clamp(min=1)


def of_each(
    task: TaskLearning, loss: Callable[..., torch.Tensor], *own: torch.Tensor, counted_B: torch.Tensor | None
) -> torch.Tensor:
    """(B,): what `loss`, one of the task's, gives for this process's rows; `own`, (B, ...) each, is what it takes.

    Where the task says that a row's loss hangs on its batch, it is given the rows of all processes. `counted_B`: bool,
    False for a row that only stands in for none (see `one_step`), which is no other's neighbour.
    """
    if not task.whole_batch or world_size() == 1:
        return loss(*own)
    assert counted_B is not None
    parts = [gathered(tensor[counted_B]) for tensor in own]
    for of_processes, tensor in zip(parts, own, strict=True):
        of_processes[rank()] = tensor[counted_B]
    if not counted_B.any():
        return 0.0 * own[0].float().flatten(1).sum(1)
    each_W = loss(*(torch.cat(of_processes) for of_processes in parts))
    begin = sum(len(part) for part in parts[0][: rank()])
    own_B = each_W[begin : begin + len(parts[0][rank()])]
    # A process has gradients of its own rows alone, so it takes those of all losses; together they are complete.
    of_all = each_W.sum() / len(own_B)
    return own_B.detach() + (of_all - of_all.detach())
