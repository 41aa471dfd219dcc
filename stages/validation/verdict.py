"""What becomes of data beyond a limit: the pipeline stops, or a warning is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

log = logging.getLogger("winnow")


def settle(broken: Iterable[tuple[str | None, str]], warn_only: Sequence[str], where: str) -> None:
    """Log a warning for what is beyond a limit that `warn_only` names; raise ValueError with a line for all others.

    `broken`: the limit's name (None: what no parameter sets, such as a missing column) and a line that says what was
    found. `where`: the last line of the error, where more can be read.
    """
    lines = []
    for limit, line in broken:
        named = f"{line} (validate.{limit})" if limit else line
        if limit in warn_only:
            log.warning("warning: %s", named)
        else:
            lines.append(named)
    if lines:
        raise ValueError("\n".join([*lines, where]))
