"""Sections `prune` and `quantize`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.core.params.values import PluginName, PositiveFloat, PositiveInt, Section, Share, UnitInterval

Activations = Literal["static", "dynamic"]


class PruneParams(Section):
    vocabulary: Literal["all", "corpus"]
    common_words: Annotated[int, Field(ge=0)]
    heads_kept: Share
    feed_forward_kept: Share
    importance_rows: PositiveInt
    epochs: PositiveInt
    encoder_learning_rate: PositiveFloat
    head_learning_rate: PositiveFloat


class QuantizeParams(Section):
    backend: PluginName
    activations: Activations
    calibration_rows: PositiveInt
    per_channel: bool
    max_loss: UnitInterval
    temperature_scaling: bool
