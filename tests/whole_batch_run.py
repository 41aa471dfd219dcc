"""The gradients of losses that hang on their whole batch, in several processes: `python tests/whole_batch_run.py OUT`.

Started by torch elastic. Each process has some of the rows, the last one none; together their gradients must be those
of one process that has all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from stages.tasks.contract import TaskLearning
from stages.tasks.image_text_matching.learning import LEARNING as OF_IMAGES
from stages.tasks.sentence_similarity.learning import LEARNING as OF_TEXTS
from stages.training.processes import join, rank, total, world_size
from stages.training.whole_batch import of_each

ROWS = 5
SHARES = {1: [[0, 1, 2, 3, 4]], 3: [[0, 3, 4], [1, 2], []]}


def of_processes(task: TaskLearning, own: list[int]) -> dict[str, torch.Tensor]:
    """The summed loss of all rows, over their number, and its gradients of the map that makes the vectors, and of how
    long these are."""
    torch.manual_seed(3)
    inputs = torch.randn(ROWS, 2, 4)
    weights = torch.randn(4, 4, requires_grad=True)
    length = torch.tensor([1.5], requires_grad=True)
    targets = torch.tensor([[1.0, 7.0], [2.0, 8.0], [1.0, 9.0], [3.0, 7.0], [torch.nan, torch.nan]])
    taken = own or [0]
    counted = torch.full((len(taken),), len(own) > 0)
    vectors = torch.nn.functional.normalize(inputs[taken] @ weights, dim=-1) * length
    each = of_each(task, task.loss, vectors, targets[taken], counted_B=counted)
    part = each.mean() * (len(own) / ROWS)
    part.backward()
    assert weights.grad is not None
    assert length.grad is not None
    return {
        "loss": total(part.detach().reshape(1).clone()), "gradient": total(weights.grad), "length": total(length.grad)
    }  # fmt: skip


if __name__ == "__main__":
    join()
    own = SHARES[world_size()][rank()]
    tasks = {"texts": OF_TEXTS, "images": OF_IMAGES}
    found = {f"{of}.{name}": one for of, task in tasks.items() for name, one in of_processes(task, own).items()}
    if rank() == 0:
        save_file(found, Path(sys.argv[1]))
