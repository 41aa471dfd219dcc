"""Sections `baseline`, `static` and `probe`: the floors that a trained model must beat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.core.params.values import PositiveFloat, PositiveInt, Section, Share


class BaselineParams(Section):
    max_ngram: Annotated[int, Field(ge=1, le=5)]
    inverse_regularization: PositiveFloat
    max_bytes: Annotated[int, Field(ge=1, le=7)]
    writes: Literal["auto", "lead", "copy", "dictionary"]


class HeadParams(Section):
    """How a linear head is fitted to features that stay as they are."""

    inverse_regularizations: Annotated[list[PositiveFloat], Field(min_length=1)]
    max_examples: PositiveInt


class StaticParams(HeadParams):
    dimensions: PositiveInt
    rarity: PositiveFloat


class ProbeParams(HeadParams):
    depths: Annotated[list[Share], Field(min_length=1)]
    dimensions: PositiveInt
