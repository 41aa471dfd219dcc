"""A narrower student: its teacher projected on the principal directions of its vectors, with its strongest heads.

H hidden width, h the narrower one, U heads, T tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from stages.compression.refusals import width_fault
from stages.compression.structured import most_important
from stages.core.contracts import Family, Reader, Units, inputs_of
from stages.core.progress import progress

log = logging.getLogger("winnow")


def narrowed(
    model: nn.Module,
    family: Family,
    hidden_size: int | None,
    batches: Callable[[], Sequence[Mapping[str, torch.Tensor]]],
) -> nn.Module:
    """A copy of `model` that is `hidden_size` wide, with heads of the same width as before; None: `model` unchanged.

    `batches` of examples, as a task collates them, show which directions matter. Everything is measured in one thread,
    so that no result depends on their number. Raises ValueError where the family cannot do it with the model, and for a
    width that is no multiple of the heads'.
    """
    if hidden_size is None:
        return model
    readers, heads = family.readers(model), family.units(model)["heads"]
    width = readers[0].norm.weight.numel()
    if fault := width_fault(hidden_size, width=width, heads=len(heads[0])):
        raise ValueError(fault)
    if hidden_size == width:
        return model
    share = hidden_size / width
    with one_thread():
        read, normalised = moments(model, readers, batches())
        projection_Hh = directions(torch.stack(read).mean(0), hidden_size)
        left = [float((projection_Hh.T @ moment_HH @ projection_Hh).trace()) for moment_HH in normalised]
        kept = [most_important(importance_of_heads(of_layer), share).tolist() for of_layer in heads]
        narrow = family.narrower(model, projection_Hh.float(), kept)
    for (norm, _), of_square in zip(family.readers(narrow), left, strict=True):
        # The projected vectors are shorter, and their norm divides by the length over fewer dimensions.
        norm.weight.data *= (of_square / share) ** 0.5
    log.info(
        "distill: the student is %d of %d wide, in which %.1f%% of the vectors' square is left; %d of %d heads a layer",
        hidden_size, width, 100 * sum(left) / len(left), len(kept[0]), len(heads[0]),
    )  # fmt: skip
    return narrow


def moments(
    model: nn.Module, readers: Sequence[Reader], batches: Sequence[Mapping[str, torch.Tensor]]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The second moments of the outputs and of the inputs of each norm: (H, H) float64, of trace 1.

    They are over all real tokens, of each vector minus the mean of its numbers; inputs are scaled to one length.
    """
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        found.append((output, inputs[0]))

    hooks = [norm.register_forward_hook(keep) for norm, _ in readers]
    width = readers[0].norm.weight.numel()
    summed = [torch.zeros(2, width, width, dtype=torch.float64) for _ in readers]
    try:
        with torch.inference_mode():
            for batch in progress(batches, "directions"):
                found.clear()
                model.eval()(*inputs_of(batch))
                real_BT = batch["attention_mask"].bool()
                for total, (output_BTH, given_BTH) in zip(summed, found, strict=True):
                    output_TH, given_TH = (_centred(vectors[real_BT].double()) for vectors in (output_BTH, given_BTH))
                    given_TH = given_TH / given_TH.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
                    total += torch.stack([output_TH.T @ output_TH, given_TH.T @ given_TH])
    finally:
        for hook in hooks:
            hook.remove()
    read, given = zip(*((one[0] / one[0].trace(), one[1] / one[1].trace()) for one in summed), strict=True)
    return list(read), list(given)


def _centred(vectors_TH: torch.Tensor) -> torch.Tensor:
    return vectors_TH - vectors_TH.mean(1, keepdim=True)


def directions(moment_HH: torch.Tensor, hidden_size: int) -> torch.Tensor:
    """Orthonormal columns (H, h) float64: the principal directions, rotated so that vectors keep their mean.

    A layer norm subtracts the mean of a vector's numbers: its part along (1, ..., 1). So that direction is kept, and
    becomes (1, ..., 1) of the narrower width; then the norms of both subtract the same.
    Source: principal directions of the residual stream: Ashkboos et al. 2024 (SliceGPT), arXiv:2401.15024.
    """
    width = len(moment_HH)
    ones_H1 = torch.full((width, 1), width**-0.5, dtype=torch.float64)
    _, ascending_HH = torch.linalg.eigh(moment_HH)
    basis_Hh, upper_hh = torch.linalg.qr(torch.cat([ones_H1, ascending_HH.flip(1)[:, : hidden_size - 1]], 1))
    basis_Hh[:, upper_hh.diagonal() < 0] *= -1  # the decomposition's own signs are not those of what it was given
    # The reflection that takes (1, 0, ..., 0) to the vector of equal numbers, and turns the others as little as it can.
    first_h = torch.zeros(hidden_size, dtype=torch.float64)
    first_h[0] = 1
    across_h = first_h - hidden_size**-0.5
    if hidden_size > 1:
        across_h /= across_h.norm()
    return basis_Hh - 2 * (basis_Hh @ across_h)[:, None] * across_h


def importance_of_heads(heads: Units) -> np.ndarray:
    """The importance of each head: (U,) float64, the Frobenius norm of its value matrix times its output matrix."""
    values_UdH, output_UdH = (
        weight.detach().cpu().double().numpy().reshape(len(heads), heads.size, -1)
        for weight in (heads.producers[-1].weight, heads.consumer.weight.T)
    )
    outputs_Udd, inputs_Udd = (np.einsum("uih,ujh->uij", one, one) for one in (output_UdH, values_UdH))
    return np.sqrt((outputs_Udd * inputs_Udd).sum((1, 2)))  # |O V|^2 is the sum over (O'O) * (VV')


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread inside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
