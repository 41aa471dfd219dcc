"""Groups of people treated alike in training: rows weighted, drawn, or the worst group put first (`debias`).

N training rows, G groups, C classes, B rows of a batch. A batch's loss becomes the mean over its rows of loss * scale:

    reweighing      scale = n_a n_y / (N n_ay), the same in every step       (a: the group, y: the class)
    group_balanced  scale = 1; each epoch draws N rows, every group as often as any other
    worst_group     scale = (rows of the step / those of the group in it) q_a; q grows with the group's loss
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from stages.tasks.contract import TaskLearning
from stages.training.processes import total
from stages.training.rows import TokenRows


def has_one_class(task: TaskLearning, rows: TokenRows) -> bool:
    """Whether each row's target is one class."""
    return task.class_weights is not None and not rows.per_token and rows.targets.ndim == 1


def by_class(groups_N: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    """(N,) int64: a number from 0 for each group and class that occur together, in their order."""
    both = np.stack([groups_N, targets_N.astype(np.int64)], axis=1)
    return np.unique(both, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def reweighing(groups_N: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    """(N,) float64: weights with which group and class are independent; their mean is 1.

    A row of group a and class y has n_a n_y / (N n_ay): the rows that there would be if both were independent, over
    those that there are. Source: Kamiran and Calders 2012, doi:10.1007/s10115-011-0463-8.
    """
    both_N = by_class(groups_N, targets_N)
    n_group, n_class, n_both = (np.bincount(one) for one in (groups_N, targets_N.astype(np.int64), both_N))
    expected_N = n_group[groups_N] * n_class[targets_N.astype(np.int64)] / len(groups_N)
    found: np.ndarray = expected_N / n_both[both_N]
    return found


def balanced_draw(groups_N: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """(N,) row numbers, drawn with replacement: a group at random each time, and a row of it.

    Source: Idrissi et al. 2022, "Simple data balancing achieves competitive worst-group-accuracy", arXiv:2110.14503.
    """
    sizes = np.bincount(groups_N)
    chance_N = 1 / (np.count_nonzero(sizes) * sizes[groups_N])
    random = np.random.default_rng([seed, epoch, 1])  # the order within the epoch is drawn by [seed, epoch]
    return random.choice(len(groups_N), size=len(groups_N), p=chance_N / chance_N.sum())


@dataclass
class Scales:
    """The scale of each row's loss: fixed weights, or those of the groups, which change from step to step.

    With `step_size` the groups' weights q follow Sagawa et al. 2020 (group DRO), arXiv:1911.08731, algorithm 1: after
    each optimizer step q_a is multiplied by exp(step_size * mean loss of a's rows in that step), and all are divided by
    their sum. The mean is over all batches and processes of the step, so neither number changes what is learned. The
    step itself is taken with the q before it: both sides of the game move at once.
    """

    groups_N: np.ndarray
    weights_N: np.ndarray | None = None
    step_size: float | None = None
    q_G: torch.Tensor = field(init=False)
    summed_G: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        count = int(self.groups_N.max()) + 1
        self.q_G = torch.full((count,), 1 / count, dtype=torch.float64)
        self.summed_G = torch.zeros(count, dtype=torch.float64)

    def of(self, rows_B: np.ndarray, step: np.ndarray, device: torch.device) -> torch.Tensor:
        """(B,) float32: the scales of some of the rows of an optimizer step."""
        if self.weights_N is not None:
            return torch.from_numpy(self.weights_N[rows_B]).float().to(device)
        if self.q_G.device != device:
            self.q_G, self.summed_G = self.q_G.to(device), self.summed_G.to(device)
        groups_B = torch.from_numpy(self.groups_N[rows_B]).to(device)
        return (self.q_G[groups_B] * len(step) / self._rows_of(step)[groups_B]).float()

    def take(self, each_B: torch.Tensor, rows_B: np.ndarray, counted_B: torch.Tensor) -> None:
        """Add the losses of some rows to those of their groups; of rows that are not counted nothing."""
        if self.step_size is None:
            return
        groups_B = torch.from_numpy(self.groups_N[rows_B]).to(each_B.device)
        is_of_BG = functional.one_hot(groups_B, len(self.q_G)) * counted_B[:, None]
        self.summed_G += (is_of_BG * each_B.detach().double()[:, None]).sum(0)

    def end_step(self, step: np.ndarray) -> None:
        """Let the groups whose rows lost most in this optimizer step count more from the next on."""
        if self.step_size is not None:
            mean_G = total(self.summed_G) / self._rows_of(step).clamp(min=1)
            self.q_G = self.q_G * torch.exp(self.step_size * mean_G)
            self.q_G = self.q_G / self.q_G.sum()
        self.summed_G = torch.zeros_like(self.summed_G)

    def restore(self, q_G: list[float]) -> None:
        """Let the groups count as much as they did: what `q_G` was."""
        self.q_G = torch.tensor(q_G, dtype=torch.float64, device=self.q_G.device)
        self.summed_G = torch.zeros_like(self.q_G)

    def _rows_of(self, step: np.ndarray) -> torch.Tensor:
        counts_G = np.bincount(self.groups_N[step], minlength=len(self.q_G))
        return torch.from_numpy(counts_G).to(self.q_G.device)
