"""Sections `model` and `tokenize`: the teacher's pretrained model, and the tokens of a text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.core.params.values import PluginName, PositiveInt, Revision, Section, Sha256

ModelName = Annotated[str, Field(pattern=r"^[\w./~-][\w./ ~-]*$")]
Pooling = Literal["mean", "cls"]
SCRATCH = "scratch"  # the name of a model without pretrained weights


class ScratchParams(Section):
    """The shape of a model from random weights."""

    kind: Literal["gpt2", "llama", "t5"]
    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    feed_forward: PositiveInt
    positions: PositiveInt

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> ScratchParams:
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}. Allowed: a multiple of heads, of which there are {self.heads}")
        if self.kind == "llama" and self.width // self.heads % 2:
            raise ValueError(
                f"width is {self.width} with {self.heads} heads. Allowed of kind llama: heads of an even width, as"
                " their numbers are turned two by two"
            )
        return self


class ImageTowerParams(Section):
    """The shape of a tower for images from random weights, a ConvNeXt, beside a pretrained one for texts."""

    size: Annotated[int, Field(ge=8, le=1024)]
    patch: PositiveInt
    depths: Annotated[list[PositiveInt], Field(min_length=1)]
    widths: Annotated[list[PositiveInt], Field(min_length=1)]
    projection: PositiveInt

    @model_validator(mode="after")
    def _parts_are_whole(self) -> ImageTowerParams:
        if len(self.widths) != len(self.depths):
            raise ValueError(
                f"widths has {len(self.widths)} numbers and depths {len(self.depths)}. Allowed: one of each for a stage"
            )
        if self.size % (step := self.patch * 2 ** (len(self.depths) - 1)):
            raise ValueError(
                f"size is {self.size}. Allowed: a multiple of {step}, as patches of {self.patch} pixels a side are"
                f" joined two by two between the stages, of which there are {len(self.depths)}"
            )
        return self


class ModelParams(Section):
    family: PluginName
    name: ModelName
    revision: Revision | None
    sha256: Sha256 | None
    pooling: Pooling
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)]
    head_dropout: Annotated[float, Field(ge=0, lt=1)]
    scratch: ScratchParams | None
    image: ImageTowerParams | None
    image_augmentation: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _a_model_from_scratch_has_a_shape_and_no_weights(self) -> ModelParams:
        if (self.name == SCRATCH) != (self.scratch is not None):
            raise ValueError(
                f"name is '{self.name}' and scratch {'null' if self.scratch is None else 'a shape'}. Allowed: a model's"
                f" folder or id with scratch null, or the name '{SCRATCH}' with a shape (a folder of that name is"
                f" ./{SCRATCH})"
            )
        if self.scratch is not None and (self.sha256 is not None or self.revision is not None):
            raise ValueError("name is 'scratch', which has no weights. Allowed with it: revision null, sha256 null")
        return self


class TokenizeParams(Section):
    max_tokens: Annotated[int, Field(ge=4, le=8192)]
    long_texts: Literal["truncate", "windows"]
    stride: Annotated[int, Field(ge=0)]
    capitals: Literal["pretrained", "marked"]
    tokenizer: Literal["pretrained", "trained"]
    vocabulary_size: Annotated[int, Field(ge=100)]
    prefix: Annotated[str, Field(max_length=200)]
    max_target_tokens: Annotated[int, Field(ge=2, le=8192)]

    @property
    def shared(self) -> int | None:
        """The tokens that neighbouring windows share; None where long texts are cut."""
        return self.stride if self.long_texts == "windows" else None
