"""The verdict on data beyond a limit: the pipeline stops, or a warning is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

log = logging.getLogger("winnow")


class Broken(NamedTuple):
    """An expectation that the data does not meet."""

    limit: str | None
    """The parameter that sets it, under `validate`; None where none does, as for a missing column."""
    line: str
    """The finding."""
    warns: bool


def settle(broken: Iterable[Broken], where: str) -> None:
    """Log those that only warn; raise ValueError with a line for each of the others.

    `where`: the last line of the error, which says where to read more.
    """
    lines = []
    for limit, line, warns in broken:
        named = f"{line} (validate.{limit})" if limit else line
        if warns:
            log.warning("warning: %s", named)
        else:
            lines.append(named)
    if lines:
        raise ValueError("\n".join([*lines, where]))
