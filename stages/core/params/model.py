"""Sections `model` and `tokenize`: the teacher's pretrained model, and the tokens of a text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.core.params.values import PluginName, Revision, Section, Sha256

ModelName = Annotated[str, Field(pattern=r"^[\w./~-][\w./ ~-]*$")]
Pooling = Literal["mean", "cls"]


class ModelParams(Section):
    family: PluginName
    name: ModelName
    revision: Revision | None
    sha256: Sha256 | None
    pooling: Pooling
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)]
    head_dropout: Annotated[float, Field(ge=0, lt=1)]


class TokenizeParams(Section):
    max_tokens: Annotated[int, Field(ge=4, le=8192)]
    long_texts: Literal["truncate", "windows"]
    stride: Annotated[int, Field(ge=0)]
    capitals: Literal["pretrained", "marked"]
    tokenizer: Literal["pretrained", "trained"]
    vocabulary_size: Annotated[int, Field(ge=100)]

    @property
    def shared(self) -> int | None:
        """The tokens that neighbouring windows share; None where long texts are cut."""
        return self.stride if self.long_texts == "windows" else None
