"""The gradients of a loss that hangs on its whole batch, in several processes: `python tests/whole_batch_run.py OUT`.

Started by torch elastic. Each process has some of the rows, the last one none; together their gradients must be those
of one process that has all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from stages.tasks.sentence_similarity.learning import LEARNING
from stages.training.processes import join, rank, total, world_size
from stages.training.whole_batch import of_each

ROWS = 5
SHARES = {1: [[0, 1, 2, 3, 4]], 3: [[0, 3, 4], [1, 2], []]}


def of_processes(shares: list[list[int]]) -> dict[str, torch.Tensor]:
    """The summed loss of all rows, over their number, and its gradient of the map that makes the vectors."""
    torch.manual_seed(3)
    inputs = torch.randn(ROWS, 2, 4)
    weights = torch.randn(4, 4, requires_grad=True)
    targets = torch.tensor([[1.0, 7.0], [2.0, 8.0], [1.0, 9.0], [3.0, 7.0], [torch.nan, torch.nan]])
    own = shares[rank()]
    taken = own or [0]
    counted = torch.full((len(taken),), len(own) > 0)
    vectors = torch.nn.functional.normalize(inputs[taken] @ weights, dim=-1)
    each = of_each(LEARNING, LEARNING.loss, vectors, targets[taken], counted_B=counted)
    part = each.mean() * (len(own) / ROWS)
    part.backward()
    assert weights.grad is not None
    return {"loss": total(part.detach().reshape(1).clone()), "gradient": total(weights.grad)}


if __name__ == "__main__":
    join()
    found = of_processes(SHARES[world_size()])
    if rank() == 0:
        save_file(found, Path(sys.argv[1]))
