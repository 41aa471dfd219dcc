"""The towers of CLIP: an image or a text becomes one vector, and a layer brings both to the same space.

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
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from stages.core.files import read_object

if TYPE_CHECKING:
    from stages.core.params.model import ImageTowerParams

ATTENTION = "eager"  # as of encoders
SETTINGS = "preprocessor_config.json"
OF_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
OF_NEW = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LARGEST_SCALE = math.log(100)  # of cosines: Radford et al. 2021, arXiv:2103.00020, section 2.5
FIRST_SCALE = math.log(1 / 0.07)  # the same
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
    """CLIP's tower of images: a transformer over patches."""

    encoder: Any
    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, config: CLIPVisionConfig, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.encoder = CLIPVisionModel._from_config(config, attn_implementation=ATTENTION)
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """pixel_values (B, S, S, 3) uint8, red, green and blue -> (B, W)."""
        shares_B3SS = pixel_values.permute(0, 3, 1, 2).float() / 255
        pooled: torch.Tensor = self.encoder(pixel_values=(shares_B3SS - self.mean) / self.deviation).pooler_output
        return pooled

    @property
    def ours(self) -> dict[str, list[float]]:
        """The mean and the deviation of pixels, for config.json."""
        return {
            name: [round(number, 8) for number in buffer.flatten().tolist()]
            for name, buffer in (("mean", self.mean), ("deviation", self.deviation))
        }


class Projections(nn.Module):
    """The layers that bring both towers' vectors to one space, and how much their cosines count there."""

    def __init__(self, image_width: int, text_width: int, size: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, size, bias=False)
        self.text = nn.Linear(text_width, size, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor([FIRST_SCALE]))  # (1,): DeepSpeed sends no tensor without axes

    def of(self, layer: nn.Linear, pooled_BW: torch.Tensor) -> torch.Tensor:
        """(B, P) float32: vectors so long that the product of two is their cosine times the learned scale."""
        vectors_BP = functional.normalize(layer(pooled_BW.to(layer.weight.dtype)).float(), dim=-1)
        scale = self.logit_scale.float()
        # With the gradient of what it would be without a limit, so that one that is beyond it can come back.
        scale = scale + (scale.clamp(max=LARGEST_SCALE) - scale).detach()
        return vectors_BP * (scale / 2).exp()


def new_image_config(shape: ImageTowerParams, dropout: float) -> CLIPVisionConfig:
    """The configuration of an image tower from random weights."""
    return CLIPVisionConfig(
        hidden_size=shape.width, intermediate_size=shape.feed_forward, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, image_size=shape.size, patch_size=shape.patch, projection_dim=shape.projection,
        attention_dropout=dropout, hidden_act="gelu",
    )  # fmt: skip


def pixels_of(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """The mean and the deviation of the pixels that the model in `folder` was trained on."""
    path = folder / SETTINGS
    found = read_object(path) if path.is_file() else {}
    return found.get("image_mean", OF_CLIP[0]), found.get("image_std", OF_CLIP[1])
