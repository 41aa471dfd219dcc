"""What answers reach that are the same for every text: below that, nothing is shown to be learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Blind(NamedTuple):
    """The best of such answers."""

    answers: str
    """ "always giving the commonest label"."""
    name: str | None
    """What they give, as the data call it: 'login'."""
    measure: str
    reached: float
    below: Mapping[str, float]
    """Measures whose intervals must begin no higher than this, for nothing to be shown to be learned."""
