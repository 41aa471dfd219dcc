"""Structured pruning: whole attention heads and feed-forward neurons, those that matter least by measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from stages.core.contracts import Units
from stages.core.progress import progress

MULTIPLES = {"heads": 1, "feed_forward": 32}  # units are kept in multiples; int8 kernels like 32 neurons


def importance(units: Sequence[Units], batches: Sequence[Any], loss: Callable[[Any], torch.Tensor]) -> list[np.ndarray]:
    """The change of the loss without each unit, to first order: (U,) float64 for each of `units`.

    loss(batch) runs the model and gives the sum of the examples' losses. A unit's importance is the mean over the
    examples of |sum over its activations of activation * gradient|; a layer that is run many times has more of them.
    Source: Michel et al. 2019, arXiv:1905.10650, section 4.1; Molchanov et al. 2017, arXiv:1611.06440.
    """
    taken: dict[int, list[torch.Tensor]] = {}

    def take(number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            inputs[0].retain_grad()
            taken.setdefault(number, []).append(inputs[0])

        return hook

    hooks = [one.consumer.register_forward_pre_hook(take(number)) for number, one in enumerate(units)]
    summed = [np.zeros(len(one)) for one in units]
    examples = 0
    try:
        for batch in progress(batches, "importance"):
            loss(batch).backward()
            for number, one in enumerate(units):
                change_BU = torch.stack([_change(activations, one) for activations in taken[number]]).sum(0)
                summed[number] += change_BU.abs().sum(0).cpu().numpy()
            examples += len(taken[0][0])
            taken.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return [total / examples for total in summed]


def _change(activations_BTX: torch.Tensor, units: Units) -> torch.Tensor:
    """(B, U) float64: the sum over the tokens and the numbers of a unit of activation * gradient."""
    assert activations_BTX.grad is not None
    change_BTX = (activations_BTX * activations_BTX.grad).detach().double().flatten(1, -2)  # places of images are T
    return change_BTX.unflatten(-1, (len(units), units.size)).sum((1, 3))


def most_important(scores_U: np.ndarray, share: float, *, multiple: int = 1) -> np.ndarray:
    """The units to keep, in order: the most important `share` of them, at least one.

    Their number is rounded up to a `multiple`. Of two equally important ones, the first is kept.
    """
    wanted = max(1, round(share * len(scores_U)))
    count = min(len(scores_U), -(-wanted // multiple) * multiple)
    return np.sort(np.argsort(-scores_U, kind="stable")[:count])


def cut_layers(
    model: nn.Module,
    units: Callable[[nn.Module], Mapping[str, Sequence[Units]]],
    shares: Mapping[str, float],
    batches: Sequence[Any],
    loss: Callable[[Any], torch.Tensor],
) -> dict[str, list[list[int]]]:
    """Keep of each kind of `units` the most important share; a kind whose share is 1 is not looked at.

    `shares`: kind -> share, one of MULTIPLES. `batches` and `loss` as in `importance`. Returns, by kind, the number of
    units that each layer had, and has.
    """
    counts = {}
    for kind, share in shares.items():
        if share < 1:
            counts[kind] = cut_least(units(model)[kind], share, batches, loss, multiple=MULTIPLES[kind])
            model.zero_grad()
    return counts


def cut_least(
    units: Sequence[Units], share: float, batches: Sequence[Any], loss: Callable[[Any], torch.Tensor], *, multiple: int
) -> list[list[int]]:
    """Keep of each of `units` the most important `share`. Returns how many each had, and has."""
    scores = importance(units, batches, loss)
    kept = [most_important(scores_U, share, multiple=multiple) for scores_U in scores]
    counts = [[len(one), len(of_it)] for one, of_it in zip(units, kept, strict=True)]
    for one, of_it in zip(units, kept, strict=True):
        cut(one, of_it)
    return counts


def n_weights(model: nn.Module) -> int:
    """The number of weights of a model."""
    return sum(weight.numel() for weight in model.parameters())


def cut(units: Units, kept: np.ndarray) -> None:
    """Keep only the units number `kept`, in that order, in the weights of their layer."""
    columns = _places(kept, units.size)
    for producer, size in zip(units.producers, units.sizes or [units.size] * len(units.producers), strict=True):
        of_block = producer.out_features // units.blocks
        rows = torch.cat([_places(kept, size) + block * of_block for block in range(units.blocks)])
        producer.weight.data = producer.weight.data[rows].clone()
        if producer.bias is not None:
            producer.bias.data = producer.bias.data[rows].clone()
        producer.out_features = len(rows)
    units.consumer.weight.data = units.consumer.weight.data[:, columns].clone()
    units.consumer.in_features = len(columns)
    units.resized(len(kept))
    units.selected(kept.tolist())


def _places(kept: np.ndarray, size: int) -> torch.Tensor:
    """The rows, or columns, of the units number `kept`, each `size` of them."""
    return torch.from_numpy((kept[:, None] * size + np.arange(size)).ravel())
