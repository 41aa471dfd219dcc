"""How a teacher's training rows are treated by group: what section `debias` of params.yaml becomes in the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from stages.core.params.debias import DebiasParams
from stages.core.params.file import Params
from stages.tasks.contract import TaskLearning
from stages.training.adversary import attach, detach, unlearned
from stages.training.people import Scales, by_class, has_one_class, reweighing
from stages.training.rows import Groups, TrainingData, there


@dataclass(frozen=True)
class Treatment:
    """What is done to the rows' losses, and which rows are drawn; nothing where rows are not treated by group."""

    method: str = "none"
    groups: Groups | None = None
    """Of people alone, as the data has them."""
    parts_N: np.ndarray | None = None
    """The groups that are balanced, or of which the worst counts: of people and, where rows have one, the class."""
    targets_N: np.ndarray | None = None
    scales: Scales | None = None
    balanced_N: np.ndarray | None = None

    def losses(
        self, head: nn.Module, each_B: torch.Tensor, batch: Mapping[str, torch.Tensor], rows_B: np.ndarray
    ) -> torch.Tensor:
        """(B,): the losses of the rows just run, as they are to count; `head` is that of the model that is trained."""
        if self.scales is not None:
            self.scales.take(each_B, rows_B, batch["counted"])
            return each_B * batch["scales"]
        if self.method == "adversarial" and self.groups is not None:
            return unlearned(head, each_B, self.groups.of_rows_N[rows_B])
        return each_B

    def ended(self, head: nn.Module) -> None:
        """Leave the trained model as models are: without an adversary."""
        if self.method == "adversarial":
            detach(head)

    def described(self) -> dict[str, Any]:
        """The entry of the training's report: the groups and their rows; of worst_group how each counted at the end."""
        if self.groups is None:
            return {}
        counts = np.bincount(self.groups.of_rows_N, minlength=len(self.groups.names)).tolist()
        found: dict[str, Any] = {"method": self.method, "rows": dict(zip(self.groups.names, counts, strict=True))}
        if self.scales is not None and self.scales.step_size is not None:
            found["weights"] = self._weights(self.scales.q_G.tolist())
        return {"debias": found}

    def _weights(self, q_G: list[float]) -> list[dict[str, Any]]:
        """How much each group counts, with the number of its class where it is of one."""
        assert self.groups is not None
        assert self.parts_N is not None
        found = []
        for part, weight in enumerate(q_G):
            at = np.flatnonzero(self.parts_N == part)
            classes = {} if self.targets_N is None else {"class": int(self.targets_N[at[0]])}
            name = self.groups.names[self.groups.of_rows_N[at[0]]]
            found.append({"group": name, **classes, "rows": len(at), "weight": round(weight, 6)})
        return found


def treatment(params: DebiasParams, task: TaskLearning, data: TrainingData, head: nn.Module) -> Treatment:
    """That of `debias`; where it wants an adversary the head is given one.

    Raises ValueError where the rows have no groups, and for reweighing where they have no single class.
    """
    if params.by_group is None:
        return Treatment()
    groups = data.groups
    if groups is None:
        raise ValueError(f"params.yaml: debias.method is '{params.method}', and the rows have no groups. Run tokenize.")
    targets_N = data.train.targets if has_one_class(task, data.train) else None
    parts_N = groups.of_rows_N if targets_N is None else by_class(groups.of_rows_N, targets_N)
    found = Treatment(params.method, groups, parts_N, targets_N)
    if params.method == "group_balanced":
        return replace(found, balanced_N=parts_N)
    if params.method == "worst_group":
        return replace(found, scales=Scales(parts_N, step_size=params.step_size))
    if params.method == "adversarial":
        attach(head, len(groups.names), params.adversary_weight)
        return found
    if targets_N is None:
        raise ValueError("params.yaml: debias.method is 'reweighing', and rows have no single class. Take another.")
    return replace(found, scales=Scales(parts_N, weights_N=reweighing(groups.of_rows_N, targets_N)))


def balanced_weights(task: TaskLearning, data: TrainingData, params: Params) -> torch.Tensor:
    """(C,) a weight for each class, such that all count the same. Raises ValueError for a task that has no classes."""
    if task.class_weights is None:
        raise ValueError(
            f"params.yaml: finetune.class_weights is 'balanced'. Allowed for task '{params.task.name}', which has no"
            " classes to balance: none."
        )
    targets = data.train.targets
    return torch.tensor(task.class_weights(targets[there(targets)], data.space), dtype=torch.float32)
