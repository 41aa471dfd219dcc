"""Sections `evaluate` and `profile`: the measurements of a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from stages.core.params.values import Name, PositiveInt, ProperFraction, Section

IdentityList = Literal["gender_en"]
WordPairs = list[Annotated[list[Name], Field(min_length=2, max_length=2)]]
IdentitySwaps = Annotated[
    Annotated[IdentityList, Tag("a name")] | Annotated[WordPairs, Tag("pairs")],
    Discriminator(lambda found: "a name" if isinstance(found, str) else "pairs"),
]


class EvaluateParams(Section):
    confidence: ProperFraction
    resamples: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2)]
    slices: list[Annotated[str, Field(min_length=1)]]
    group_column: str | None
    identity_swaps: IdentitySwaps
    perturbed_rows: PositiveInt

    @model_validator(mode="after")
    def _a_word_has_one_other(self) -> EvaluateParams:
        pairs = () if isinstance(self.identity_swaps, str) else self.identity_swaps
        words = [word.lower() for pair in pairs for word in pair]
        if repeated := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"identity_swaps has '{repeated[0]}' more than once: what it is swapped for is unclear")
        return self


class ProfileParams(Section):
    rounds: PositiveInt
    threads: PositiveInt
    single_rows: PositiveInt
    throughput_rows: PositiveInt
    batch_size: PositiveInt
    batch_sizes: list[PositiveInt]
    thread_counts: list[PositiveInt]
