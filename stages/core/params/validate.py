"""Section `validate`: the expectations on the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.core.params.values import Name, PositiveFloat, PositiveInt, Section, UnitInterval

DataLimit = Literal[
    "min_rows",
    "labels",
    "min_labels",
    "min_rows_per_label",
    "min_label_share",
    "max_label_share",
    "max_look_alike_labels",
    "max_missing_text_share",
    "max_missing_label_share",
    "min_median_chars",
    "max_median_chars",
    "max_p95_chars",
    "max_duplicate_share",
    "max_dropped_share",
    "max_other_language_share",
    "min_median_target_chars",
    "max_p95_target_chars",
    "max_p95_length_ratio",
    "max_copied_target_share",
    "max_repeated_target_share",
    "max_truncated_share",
    "max_unknown_share",
    "max_label_drift",
    "max_length_drift",
    "max_word_drift",
    "max_rows_lost",
]


class ValidateParams(Section):
    min_rows: PositiveInt
    labels: Annotated[list[Name], Field(min_length=1)] | None
    min_labels: PositiveInt
    min_rows_per_label: PositiveInt
    min_label_share: UnitInterval | None
    max_label_share: UnitInterval | None
    max_look_alike_labels: Annotated[int, Field(ge=0)] | None
    max_missing_text_share: UnitInterval | None
    max_missing_label_share: UnitInterval | None
    min_median_chars: PositiveInt | None
    max_median_chars: PositiveInt | None
    max_p95_chars: PositiveInt | None
    max_duplicate_share: UnitInterval | None
    max_dropped_share: UnitInterval | None
    max_other_language_share: UnitInterval | None
    min_median_target_chars: PositiveInt | None
    max_p95_target_chars: PositiveInt | None
    max_p95_length_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None
    max_copied_target_share: UnitInterval | None
    max_repeated_target_share: UnitInterval | None
    max_truncated_share: UnitInterval | None
    max_unknown_share: UnitInterval | None
    max_label_drift: UnitInterval | None
    max_length_drift: PositiveFloat | None
    max_word_drift: UnitInterval | None
    max_rows_lost: UnitInterval | None
    warn_only: list[DataLimit]
