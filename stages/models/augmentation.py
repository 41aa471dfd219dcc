"""Images changed at random as a tower learns them, so that it learns what they show instead of the drawings by heart.

B images, S pixels of a side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


@torch.compiler.disable
@torch.no_grad()
def changed(shares_B3SS: torch.Tensor, strength: float) -> torch.Tensor:
    """Shares of red, green and blue (B, 3, S, S), from 0 to 1, each image changed in its own way -> the same shape.

    Moved, turned, stretched and mirrored on white; of other colours, or grey; blurred; and a part of it hidden, all by
    `strength` from 0 to 1. The random numbers are torch's. In float32, whatever the precision of the training, so that
    places are exact.
    """
    with torch.autocast(shares_B3SS.device.type, enabled=False):
        for change in _changes(strength):
            shares_B3SS = change(shares_B3SS)
    return shares_B3SS.clamp(0, 1)


@cache
def _changes(strength: float) -> tuple[Change, ...]:
    from kornia import augmentation  # for training alone

    return (
        _on_white(
            augmentation.RandomAffine(
                degrees=17 * strength,
                translate=(0.15 * strength, 0.15 * strength),
                scale=(1 - 0.2 * strength, 1 + 0.2 * strength),
                shear=5 * strength,
                p=1.0,
            )
        ),
        augmentation.RandomHorizontalFlip(p=0.25 * strength),
        augmentation.ColorJiggle(0.3 * strength, 0.3 * strength, p=0.8),  # of light; hues take 20 times as long
        augmentation.RandomRGBShift(0.2 * strength, 0.2 * strength, 0.2 * strength, p=0.8),
        augmentation.RandomGrayscale(p=0.15 * strength),
        augmentation.RandomGaussianBlur((3, 3), (0.5, 1.2), p=0.3 * strength),
        augmentation.RandomErasing(scale=(0.02, 0.14), value=0.5, p=0.3 * strength),
    )


def _on_white(change: Change) -> Change:
    """The change, which leaves 0 where nothing of the image comes to lie, such that this is white."""
    return lambda shares_B3SS: 1 - change(1 - shares_B3SS)
