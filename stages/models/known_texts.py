"""The vectors of texts that a frozen tower has read: it would give the same ones in every epoch.

B texts, T tokens, W width of the tower.
"""

from __future__ import annotations

import torch
from torch import nn

MOST = 200_000  # texts that are kept; others are read each time


class KnownTexts:
    """The vectors of a tower's texts by their tokens. Each is read by itself, so that none hangs on its batch."""

    def __init__(self) -> None:
        self.vectors: dict[bytes, torch.Tensor] = {}

    def __deepcopy__(self, _memo: object) -> KnownTexts:
        """Of a copy, whose layers or tokens may then become others, nothing is known."""
        return KnownTexts()

    def read(self, tower: nn.Module, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """(B, W): what the tower makes of the texts."""
        return torch.stack(
            [self._one(tower, ids_T[mask_T.bool()]) for ids_T, mask_T in zip(ids_BT, mask_BT, strict=True)]
        )

    def _one(self, tower: nn.Module, ids_T: torch.Tensor) -> torch.Tensor:
        key = ids_T.cpu().numpy().tobytes()
        if (known_W := self.vectors.get(key)) is not None:
            return known_W
        training = tower.training
        tower.eval()  # its attention may have a dropout, and what is drawn once would stay
        with torch.no_grad():
            found_W: torch.Tensor = tower(ids_T[None], torch.ones_like(ids_T)[None])[0]
        tower.train(training)
        if len(self.vectors) < MOST:
            self.vectors[key] = found_W
        return found_W


def never_changes(encoder: nn.Module) -> bool:
    """Whether an encoder gives the same vectors for all of a training: none of its weights is learned, nothing dropped.

    Weights that ZeRO-3 shares out have to be read by all processes at once, so these are taken for changing.
    """
    return (
        not any(weight.requires_grad or hasattr(weight, "ds_id") for weight in encoder.parameters())
        and not any(isinstance(module, nn.Dropout) and module.p > 0 for module in encoder.modules())
        and not torch.compiler.is_compiling()
    )
