"""Section `generate`: how texts are written, with which all figures of a task that writes are made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stages.core.contracts import LARGEST_PENALTY, LARGEST_POWER, SMALLEST_PENALTY, Generation
from stages.core.params.values import Name, NonNegativeFloat, PositiveInt, Section, Share


class GenerateParams(Section):
    max_new_tokens: PositiveInt
    beams: PositiveInt
    temperature: NonNegativeFloat
    top_k: Annotated[int, Field(ge=0)]
    top_p: Share
    repetition_penalty: Annotated[float, Field(ge=SMALLEST_PENALTY, le=LARGEST_PENALTY)]
    length_penalty: Annotated[float, Field(ge=-LARGEST_POWER, le=LARGEST_POWER)]
    stop: list[Name]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]

    @model_validator(mode="after")
    def _beams_are_not_drawn(self) -> GenerateParams:
        if self.beams > 1 and self.temperature > 0:
            raise ValueError(
                f"beams is {self.beams} and temperature {self.temperature:g}. Allowed with beams: 0.0, as the likeliest"
                " are searched, and none is drawn"
            )
        return self

    @property
    def settings(self) -> Generation:
        """The same, as runners take it."""
        return Generation(**{**self.model_dump(), "stop": tuple(self.stop)})
