"""Images changed at random as a tower learns them, so that it learns what they show instead of the drawings by heart.

B images, S pixels of a side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


def changed(shares_B3SS: torch.Tensor, strength: float) -> torch.Tensor:
    """Shares of red, green and blue (B, 3, S, S), from 0 to 1, each image changed in its own way -> the same shape.

    Moved, turned, stretched and mirrored on white; of other colours, or grey; blurred; and a part of it hidden, all by
    `strength` from 0 to 1. The random numbers are torch's.
    """
    for change in _changes(strength):
        shares_B3SS = change(shares_B3SS)
    return shares_B3SS.clamp(0, 1)


@cache
def _changes(strength: float) -> tuple[Change, ...]:
    import kornia.augmentation as kornia  # for training alone

    return (
        _on_white(
            kornia.RandomAffine(
                degrees=17 * strength,
                translate=(0.15 * strength, 0.15 * strength),
                scale=(1 - 0.2 * strength, 1 + 0.2 * strength),
                shear=5 * strength,
                p=1.0,
            )
        ),
        kornia.RandomHorizontalFlip(p=0.25 * strength),
        kornia.ColorJiggle(0.3 * strength, 0.3 * strength, p=0.8),  # of light; that of hues takes 20 times as long
        kornia.RandomRGBShift(0.2 * strength, 0.2 * strength, 0.2 * strength, p=0.8),
        kornia.RandomGrayscale(p=0.15 * strength),
        kornia.RandomGaussianBlur((3, 3), (0.5, 1.2), p=0.3 * strength),
        kornia.RandomErasing(scale=(0.02, 0.14), value=0.5, p=0.3 * strength),
    )


def _on_white(change: Change) -> Change:
    """The change, which leaves 0 where nothing of the image comes to lie, such that this is white."""
    return lambda shares_B3SS: 1 - change(1 - shares_B3SS)
