"""An adversary that guesses the group of people that a row is about from what the head reads, and is unlearned.

    encoder ──> pooled (B, width) ──> head ──────────────> the task's loss
                      └──> reversed gradient ──> adversary ──> cross-entropy of the group

The adversary learns to tell the groups apart; the encoder gets its gradient with the sign turned, times a weight.
Source: Ganin and Lempitsky 2015, arXiv:1409.7495. What is unlearned can often still be found by another model that is
trained afterwards: Elazar and Goldberg 2018, arXiv:1808.06640.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

NAME = "adversary"  # the attribute of the head whose weights it is trained with


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, vectors_BX: torch.Tensor, weight: float) -> torch.Tensor:
        context.weight = weight
        return vectors_BX.view_as(vectors_BX)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -context.weight * gradients[0], None


class Adversary(nn.Module):
    """A network with one hidden layer, from what the head reads, (B, width), to logits of the groups, (B, G)."""

    def __init__(self, width: int, groups: int, weight: float) -> None:
        super().__init__()
        self.hidden, self.out, self.weight = nn.Linear(width, width), nn.Linear(width, groups), weight
        self.logits_BG: torch.Tensor | None = None

    def forward(self, vectors_BX: torch.Tensor) -> torch.Tensor:
        """The logits of the groups; the gradient of the vectors has its sign turned."""
        found: torch.Tensor = self.out(functional.relu(self.hidden(_Reversed.apply(vectors_BX, self.weight))))
        return found


def attach(head: nn.Module, groups: int, weight: float) -> None:
    """Let an adversary look on as the head is trained. Raises ValueError for a head that is no linear layer."""
    if not isinstance(head, nn.Linear):
        raise ValueError(
            "params.yaml: debias.method is 'adversarial', and what this model's head reads is no single vector."
            " Allowed: reweighing, group_balanced, worst_group."
        )
    head.add_module(NAME, Adversary(head.in_features, groups, weight))
    head.register_forward_hook(_look_on)


def _look_on(head: nn.Module, inputs: tuple[torch.Tensor, ...], _output: torch.Tensor) -> None:
    found = getattr(head, NAME, None)
    if isinstance(found, Adversary) and head.training:
        found.logits_BG = found(inputs[0])


def unlearned(head: nn.Module, each_B: torch.Tensor, groups_B: np.ndarray) -> torch.Tensor:
    """(B,): the losses of the rows just run, whose gradient is also that of the adversary; their values stay."""
    found = getattr(head, NAME)
    assert found.logits_BG is not None
    targets_B = torch.from_numpy(groups_B).to(each_B.device)
    own_B = functional.cross_entropy(found.logits_BG.float(), targets_B, reduction="none")
    return each_B + (own_B - own_B.detach())


def detach(head: nn.Module) -> None:
    """Take the adversary away: the model is as it was built."""
    delattr(head, NAME)
    for key in [key for key, hook in head._forward_hooks.items() if hook is _look_on]:
        del head._forward_hooks[key]
