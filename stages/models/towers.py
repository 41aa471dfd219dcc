"""The towers: an image or a text becomes one vector, and a layer brings both to the same space.

B examples, T tokens, S pixels of a side, W width of a tower, P numbers of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextConfig,
    ConvNextModel,
)

from stages.core.contracts import Units
from stages.core.files import read_object
from stages.models.augmentation import changed
from stages.models.layouts import head_size, heads_of, laid_out, neurons_of, stack_of

if TYPE_CHECKING:
    from stages.core.params.model import ImageTowerParams

ATTENTION = "eager"  # as of encoders
SETTINGS = "preprocessor_config.json"
OF_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
OF_NEW = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LARGEST_SCALE = math.log(100)  # of cosines: Radford et al. 2021, arXiv:2103.00020, section 2.5
FIRST_SCALE = math.log(1 / 0.07)  # the same
NEW_SCALE = math.log(1 / 0.1)  # beside a new image tower, where it is not learned
LEGACY_END = 2  # what CLIP's first configurations say of the token that ends a text, whose number is another


class TextTower(nn.Module):
    """CLIP's tower of texts: the vector of the token that ends a text, which sees all before it."""

    encoder: Any

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        if config.eos_token_id == LEGACY_END:
            config.eos_token_id = config.vocab_size - 1  # the largest number, which transformers looks for then
        self.encoder = CLIPTextModel._from_config(config, attn_implementation=ATTENTION)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """input_ids, attention_mask (B, T) int64 -> (B, W)."""
        pooled: torch.Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return pooled


class ImageTower(nn.Module):
    """A tower of images: CLIP's, a transformer over patches, or a ConvNeXt.

    As it learns, images are changed at random, by `augmentation` from 0, not at all, to 1: see augmentation.py.
    """

    encoder: Any
    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self,
        config: CLIPVisionConfig | ConvNextConfig,
        mean: Sequence[float],
        deviation: Sequence[float],
        augmentation: float = 0.0,
    ) -> None:
        super().__init__()
        if isinstance(config, ConvNextConfig):
            self.encoder = ConvNextModel(config)
        else:
            self.encoder = CLIPVisionModel._from_config(config, attn_implementation=ATTENTION)
        self.augmentation = augmentation
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """pixel_values (B, S, S, 3) uint8, red, green and blue -> (B, W)."""
        shares_B3SS = pixel_values.permute(0, 3, 1, 2).float() / 255
        if self.training and self.augmentation > 0:
            shares_B3SS = changed(shares_B3SS, self.augmentation)
        given_B3SS = ((shares_B3SS - self.mean) / self.deviation).to(self.encoder.dtype)
        pooled: torch.Tensor = self.encoder(pixel_values=given_B3SS).pooler_output
        return pooled

    @property
    def width(self) -> int:
        """The numbers of the pooled vector, W."""
        config: Any = self.encoder.config
        return int(config.hidden_sizes[-1] if isinstance(self.encoder, ConvNextModel) else config.hidden_size)

    @property
    def layers(self) -> nn.ModuleList | None:
        """The layers, any of which can be left out; None of a ConvNeXt, whose blocks are of several widths."""
        return None if isinstance(self.encoder, ConvNextModel) else stack_of(self.encoder)

    @property
    def ours(self) -> dict[str, Any]:
        """The mean and the deviation of pixels, and the augmentation, for config.json."""
        pixels = {
            name: [round(number, 8) for number in buffer.flatten().tolist()]
            for name, buffer in (("mean", self.mean), ("deviation", self.deviation))
        }
        return {**pixels, "augmentation": self.augmentation}


class Projections(nn.Module):
    """The layers that bring both towers' vectors to one space, and how much their cosines count there."""

    def __init__(self, image_width: int, text_width: int, size: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, size, bias=False)
        self.text = nn.Linear(text_width, size, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor([FIRST_SCALE]))  # (1,): DeepSpeed sends no tensor without axes

    def of(self, layer: nn.Linear, pooled_BW: torch.Tensor) -> torch.Tensor:
        """(B, P) float32: vectors so long that the product of two is their cosine times the scale."""
        vectors_BP = functional.normalize(layer(pooled_BW.to(layer.weight.dtype)).float(), dim=-1)
        scale = self.logit_scale.float()
        # With the gradient of what it would be without a limit, so that one that is beyond it can come back.
        scale = scale + (scale.clamp(max=LARGEST_SCALE) - scale).detach()
        return vectors_BP * (scale / 2).exp()


def units_of(tower: ImageTower | TextTower) -> dict[str, list[Units]]:
    """The attention heads and the neurons of each layer; of a ConvNeXt the neurons of its blocks."""
    encoder: Any = tower.encoder
    if isinstance(tower.encoder, ConvNextModel):
        blocks: list[Any] = [block for stage in encoder.encoder.stages for block in stage.layers]
        return {"heads": [], "feed_forward": [Units((block.pwconv1,), block.pwconv2, 1) for block in blocks]}
    size = head_size(encoder.config)
    return {
        "heads": [heads_of(layer, layout, size) for layer, layout in laid_out(encoder)],
        "feed_forward": [neurons_of(layer, layout) for layer, layout in laid_out(encoder)],
    }


def new_image_config(shape: ImageTowerParams) -> ConvNextConfig:
    """The configuration of an image tower from random weights.

    Without the scales of layers that deep ones begin with, near 0, and grow for many epochs.
    """
    return ConvNextConfig(
        num_stages=len(shape.depths), depths=list(shape.depths), hidden_sizes=list(shape.widths),
        patch_size=shape.patch, image_size=shape.size, layer_scale_init_value=0.0, layer_norm_eps=1e-6,
    )  # fmt: skip


def pixels_of(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """The mean and the deviation of the pixels that the model in `folder` was trained on."""
    path = folder / SETTINGS
    found = read_object(path) if path.is_file() else {}
    return found.get("image_mean", OF_CLIP[0]), found.get("image_std", OF_CLIP[1])
