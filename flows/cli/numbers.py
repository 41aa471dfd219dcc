"""Types of the command line's numbers."""

from __future__ import annotations

from typing import Any

import click


class Number(click.FloatRange):
    """A number in a range; "nan", which click lets into every range, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if found != found:  # only nan is not itself
            self.fail(f"{value!r} is no number. Allowed: one in the range {self._describe_range()}.", param, ctx)
        return found
