"""Types of values in params.yaml, for any section."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
UnitInterval = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
ProperFraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
PluginName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
RelativeOrAbsolutePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f;|&$`<>]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Name = Annotated[str, Field(min_length=1)]
FORMS = ("a name", "names", "sets")  # of one parameter; pydantic puts them where a mistake is
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class Section(BaseModel):
    """A section of params.yaml: nothing may be missing, added, converted or changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
