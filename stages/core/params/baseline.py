"""Section `baseline`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.core.params.values import PositiveFloat, Section


class BaselineParams(Section):
    max_ngram: Annotated[int, Field(ge=1, le=5)]
    inverse_regularization: PositiveFloat
