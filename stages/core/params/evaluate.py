"""Sections `evaluate` and `profile`: the measurements of a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stages.core.params.identity import IDENTITY_WORDS, WordLists, refuse_repeated
from stages.core.params.values import Name, PositiveInt, ProperFraction, Section

SLOT = "{}"  # of a template: where the words for people go


class ZeroShotParams(Section):
    """Classes of rows that a model is asked for by prompts, without having learned them."""

    column: Annotated[str, Field(min_length=1)]
    templates: Annotated[list[Annotated[str, Field(pattern=r"\{\}")]], Field(min_length=1)]


class EvaluateParams(Section):
    confidence: ProperFraction
    resamples: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2)]
    slices: list[Annotated[str, Field(min_length=1)]]
    group_column: str | None
    identity_swaps: WordLists
    positive_class: Name | None
    templates: list[Annotated[str, Field(min_length=1)]]
    template_words: WordLists
    perturbed_rows: PositiveInt
    zero_shot: ZeroShotParams | None

    @model_validator(mode="after")
    def _a_word_has_one_other(self) -> EvaluateParams:
        refuse_repeated("identity_swaps", self.identity_swaps)
        refuse_repeated("template_words", self.template_words)
        return self

    @model_validator(mode="after")
    def _there_are_words_to_group_by(self) -> EvaluateParams:
        if self.group_column == IDENTITY_WORDS and not self.identity_swaps:
            raise ValueError(f"group_column is '{IDENTITY_WORDS}', and identity_swaps has none")
        return self

    @model_validator(mode="after")
    def _a_template_has_a_slot_and_something_to_fill_it(self) -> EvaluateParams:
        if flat := [one for one in self.templates if SLOT not in one]:
            raise ValueError(f"templates has '{flat[0]}'. Allowed: a text with {SLOT} where the words go")
        if self.templates and not self.template_words:
            raise ValueError("templates has sentences, and template_words nothing to fill them with")
        return self


class ProfileParams(Section):
    rounds: PositiveInt
    threads: PositiveInt
    single_rows: PositiveInt
    throughput_rows: PositiveInt
    batch_size: PositiveInt
    batch_sizes: list[PositiveInt]
    thread_counts: list[PositiveInt]
