"""Section `promotion`: the limits that a candidate must meet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stages.core.params.values import PositiveFloat, PositiveInt, ProperFraction, Section, UnitInterval

Anchor = Annotated[str, Field(pattern=r"^(first|v\d+\.\d+\.\d+)$")]
ReleasedModel = Literal["baseline", "static", "probe", "teacher", "student", "pruned", "quantized"]


class PromotionParams(Section):
    model: ReleasedModel
    # In the unit of task.measure, which says how large they may be (stages/core/params/task.py).
    floor: PositiveFloat | None
    margin: PositiveFloat
    anchor: Anchor | None
    anchor_margin: PositiveFloat
    confidence: Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)]
    slice_margin: ProperFraction
    min_slice_rows: PositiveInt
    max_ece: UnitInterval | None
    max_identity_flip_rate: UnitInterval | None
    max_group_gap: UnitInterval | None
    max_error_rate_gap: UnitInterval | None
    max_latency_p50_ms: PositiveFloat | None
    max_size_mb: PositiveFloat | None
