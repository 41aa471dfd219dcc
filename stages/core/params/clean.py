"""Section `clean`: the cleaning of texts, the rows that are dropped, and the splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.core.params.values import LanguageCode, Name, PositiveInt, ProperFraction, Section

CleaningRule = Literal[
    "unicode_nfc",
    "unicode_nfkc",
    "invisible_characters",
    "html_markup",
    "markdown_markup",
    "white_space",
    "mask_urls",
    "mask_emails",
    "mask_phone_numbers",
    "mask_numbers",
    "lower_case",
    "no_digits",
    "no_punctuation",
    "no_stop_words",
    "classic",
]
ConflictingLabels = Literal["drop", "majority", "keep"]
RareLabels = Literal["keep", "drop", "merge"]
Unlabelled = Literal["drop", "transfer"]
CopiedTargets = Literal["keep", "drop"]
RepeatedTargets = Literal["keep", "together", "drop"]
MaskWord = Annotated[str, Field(max_length=40)]


class MasksParams(Section):
    url: MaskWord
    email: MaskWord
    phone_number: MaskWord
    number: MaskWord


class CleanParams(Section):
    rules: list[CleaningRule]
    masks: MasksParams
    stop_word_language: LanguageCode
    languages: Annotated[list[LanguageCode], Field(min_length=1)] | None
    min_chars: PositiveInt
    max_chars: PositiveInt
    max_target_chars: PositiveInt | None
    max_length_ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None
    target_languages: Annotated[list[LanguageCode], Field(min_length=1)] | None
    copied_targets: CopiedTargets
    near_duplicate_jaccard: Annotated[float, Field(ge=0.5, le=1)]
    near_image_bits: Annotated[int, Field(ge=0, le=16)]
    repeated_targets: RepeatedTargets
    conflicting_labels: ConflictingLabels
    rare_labels: RareLabels
    rare_label_rows: Annotated[int, Field(ge=2)]
    rare_label_name: Name
    unlabelled: Unlabelled
    group_column: Annotated[str, Field(min_length=1)] | None
    validation_fraction: ProperFraction
    test_fraction: ProperFraction

    def faults_without_one_class(self) -> Iterator[str]:
        """A line for each value that needs rows of one class each, for tasks whose rows have several, or none."""
        for key, value, allowed in (
            ("rare_labels", self.rare_labels, ("keep",)),
            ("conflicting_labels", self.conflicting_labels, ("drop", "keep")),
        ):
            if value not in allowed:
                yield (
                    f"params.yaml: clean.{key} is '{value}', which needs rows of one class each. Allowed for the task:"
                    f" {', '.join(allowed)}."
                )

    def faults_without_targets(self) -> Iterator[str]:
        """A line for each value that is about targets that are texts, for tasks whose models write no target."""
        for key, value, allowed in (
            ("max_target_chars", self.max_target_chars, None),
            ("max_length_ratio", self.max_length_ratio, None),
            ("target_languages", self.target_languages, None),
            ("copied_targets", self.copied_targets, "keep"),
        ):
            if value != allowed:
                yield (
                    f"params.yaml: clean.{key} is {value}, which is for targets that are texts to be written. Allowed"
                    f" for the task: {'null' if allowed is None else allowed}."
                )

    @model_validator(mode="after")
    def _something_is_left_for_training(self) -> CleanParams:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction add up to 1 or more: nothing is left for training")
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars ({self.min_chars}) is larger than max_chars ({self.max_chars})")
        return self
