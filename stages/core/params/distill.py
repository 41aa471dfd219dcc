"""Sections `cache_logits` and `distill`: the answers that a student learns from, and its architecture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.core.lacks import LACKS
from stages.core.params.training import TrainingParams
from stages.core.params.values import NonNegativeFloat, PluginName, PositiveFloat, PositiveInt, ProperFraction, Section

RecurrentPooling = Literal["max", "mean", "last"]
TeacherVectors = Literal["embeddings", "hidden", "queries", "keys", "values"]


class CacheLogitsParams(Section):
    augmented_copies: Annotated[int, Field(ge=0)]
    hidden_share: ProperFraction
    vectors: list[TeacherVectors]
    layers: list[Annotated[int, Field(ge=0)]]
    likeliest: PositiveInt
    sequence_beams: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _vectors_are_those_of_layers(self) -> CacheLogitsParams:
        if self.layers and not set(self.vectors) - {"embeddings"}:
            raise ValueError("layers names layers, and vectors does not say what of them is to be kept")
        if set(self.vectors) - {"embeddings"} and not self.layers:
            raise ValueError("vectors are of layers, and layers does not say which")
        return self


HEAD_LOSSES = ("logits", "labels")
SAME_WIDTH_LOSSES = ("hidden", "embeddings")
VECTORS_OF_LOSSES: dict[str, tuple[TeacherVectors, ...]] = {
    "hidden": ("hidden",),
    "embeddings": ("embeddings",),
    "attention_relations": ("queries", "keys"),
    "value_relations": ("values",),
}
"""Loss -> the kinds of the teacher's inner vectors that it needs; the other losses need none."""


class LossWeights(Section):
    """The weight of each loss of `stages.training.distillation.LOSSES`."""

    logits: NonNegativeFloat
    labels: NonNegativeFloat
    hidden: NonNegativeFloat
    embeddings: NonNegativeFloat
    attention_relations: NonNegativeFloat
    value_relations: NonNegativeFloat


class BilstmParams(Section):
    hidden_units: PositiveInt
    layers: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]
    pooling: RecurrentPooling

    @property
    def words(self) -> str:
        """What the student is, for a card."""
        return f"a bidirectional LSTM ({self.layers} x {self.hidden_units} units a direction)"


class DistillParams(TrainingParams):
    family: PluginName
    bilstm: BilstmParams
    teacher_layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    hidden_size: PositiveInt | None
    width_rows: PositiveInt
    temperature: PositiveFloat
    losses: LossWeights

    @property
    def own(self) -> BilstmParams | None:
        """The section of the student's family; None where it has none."""
        return getattr(self, self.family) if self.family in type(self).model_fields else None

    @model_validator(mode="after")
    def _something_is_matched(self) -> DistillParams:
        if not any(getattr(self.losses, name) for name in HEAD_LOSSES):
            raise ValueError("losses has neither logits nor labels above 0: nothing would train the head")
        return self

    @model_validator(mode="after")
    def _the_family_has_what_is_asked_of_it(self) -> DistillParams:
        lacks = LACKS.get(self.family, frozenset())
        if "width" in lacks and self.hidden_size is not None:
            raise ValueError(
                f"hidden_size is {self.hidden_size}. Allowed with family '{self.family}': null."
                f"{'' if self.own is None else f' Its width is a value of the section {self.family}'}"
            )
        weights = self.losses.model_dump()
        inner = [name for name, weight in weights.items() if weight > 0 and name not in HEAD_LOSSES]
        if "vectors" in lacks and inner:
            raise ValueError(
                f"losses.{inner[0]} is {weights[inner[0]]}. Allowed with family '{self.family}': 0.0, as nothing in it"
                " corresponds to the teacher's inner vectors"
            )
        return self

    @model_validator(mode="after")
    def _vectors_of_the_same_width_are_compared(self) -> DistillParams:
        if self.hidden_size is None:
            return self
        for name in SAME_WIDTH_LOSSES:
            if getattr(self.losses, name):
                raise ValueError(
                    f"losses.{name} is {getattr(self.losses, name)} and hidden_size {self.hidden_size}. Allowed with"
                    f" a hidden_size: 0.0, as {name} compares vectors number by number. Take"
                    " attention_relations and value_relations, or set hidden_size to null"
                )
        return self
